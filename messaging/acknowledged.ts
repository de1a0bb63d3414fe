/**
 * Which messages a subscription has handled already, so that none is handled again when the broker delivers it once more: because its
 * acknowledgement was lost with a connection, or because it was published twice. An id is forgotten after the window; one whose
 * acknowledgement the broker has not confirmed stays, as it will come again. Bounded in number, the oldest go first.
 */
export interface Acknowledged {
  has(messageId: string): boolean;
  /** It was handled; the broker may not know yet. */
  add(messageId: string): void;
  /** The broker knows: from now on it is remembered for the window. */
  confirmed(messageId: string): void;
}

export function createAcknowledged(options: {
  now: () => number;
  windowMs: number;
  countMax?: number;
}): Acknowledged {
  const { now, windowMs, countMax = 10_000 } = options;
  /** Until when each is remembered; in the order of adding. */
  const until = new Map<string, number>();

  function trim(): void {
    const nowMs = now();
    for (const [messageId, untilMs] of until) {
      if (untilMs > nowMs && until.size <= countMax) return;
      until.delete(messageId);
    }
  }

  return {
    has: messageId => (until.get(messageId) ?? -1) > now(),
    add(messageId) {
      until.delete(messageId);
      until.set(messageId, Infinity);
      trim();
    },
    confirmed(messageId) {
      if (until.has(messageId)) until.set(messageId, now() + windowMs);
    },
  };
}
