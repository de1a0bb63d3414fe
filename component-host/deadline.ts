/**
 * Gives foreign code a deadline. When it passes, or the caller's signal aborts, the code's own signal aborts; it may
 * then take a moment to clean up, and after that it is no longer waited for.
 */
import type { System } from '#core';

export interface Deadline {
  system: System;
  /** For the message: `<what> took longer than …`. */
  what: string;
  deadlineMs: number;
  /** How long after the abort an outcome is still waited for. */
  noticeMs: number;
  /** What becomes of work that succeeds within that moment: a start is `failed` then, a stop `accepted`. */
  late: 'failed' | 'accepted';
  signal?: AbortSignal;
}

/** @throws what `run` throws, an Error that says what took too long, or the reason of `signal` */
export async function withDeadline<Result>(
  run: (signal: AbortSignal) => Promise<Result>,
  { system, what, deadlineMs, noticeMs, late, signal }: Deadline,
): Promise<Result> {
  const controller = new AbortController();
  const givenUp = Promise.withResolvers<never>();
  const cancels: (() => void)[] = [];

  function abort(reason: unknown): void {
    if (controller.signal.aborted) return;
    controller.abort(reason);
    cancels.push(system.timers.after(noticeMs, () => givenUp.reject(reason), { keepAlive: true }));
  }
  function onAbort(): void {
    abort(signal!.reason);
  }
  function onLate(): void {
    abort(new Error(`${what} took longer than ${Math.round(deadlineMs)} ms`));
  }

  signal?.addEventListener('abort', onAbort, { once: true });
  cancels.push(system.timers.after(deadlineMs, onLate, { keepAlive: true }));
  if (signal?.aborted) onAbort();
  try {
    const result = await Promise.race([run(controller.signal), givenUp.promise]);
    if (controller.signal.aborted && late === 'failed') throw controller.signal.reason;
    return result;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    for (const cancel of cancels) cancel();
  }
}

/** Resolves when the first of them has aborted. */
export function aborted(...signals: AbortSignal[]): Promise<void> {
  return new Promise(resolve => {
    for (const signal of signals) {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    }
  });
}
