/** Lets one task wait for another; a ring that nobody waits for is heard by the next who does. */
export interface Wake {
  ring(): void;
  heard(signal: AbortSignal): Promise<void>;
}

export function createWake(): Wake {
  let rung = Promise.withResolvers<void>();
  return {
    ring: () => rung.resolve(),
    async heard(signal) {
      const stop = () => rung.resolve();
      if (signal.aborted) return;
      signal.addEventListener('abort', stop, { once: true });
      await rung.promise;
      signal.removeEventListener('abort', stop);
      rung = Promise.withResolvers();
    },
  };
}
