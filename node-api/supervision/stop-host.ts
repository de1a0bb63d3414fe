/**
 * Ends one host, gently first: `shutdown` over the channel (SIGTERM where there is none), then SIGKILL to the whole
 * tree when its time is over. Resolves when nothing of it is left and its session has ended.
 */
import type { System } from '#core';
import type { HostExit, HostProcess } from './host-process.ts';

/** A host that was never connected has nothing to close: it gets no longer than this. */
const strangerGraceMs = 1_000;
/** Between the answer to `shutdown` and the exit. */
const exitMs = 500;

export async function stopHost(
  system: System,
  host: HostProcess,
  { graceMs, reason }: { graceMs: number; reason: string },
): Promise<HostExit> {
  host.expectEnd(reason);
  if (graceMs > 0 && !host.ended) {
    const deadlineMs = system.clock.monotonicMs() + graceMs + exitMs;
    const asked = await Promise.race([
      host.gone.then(() => true),
      host.request('shutdown', { graceMs }, graceMs).then(
        () => true,
        () => false, // it cannot be asked, or does not answer: signals follow
      ),
    ]);
    const leftMs = deadlineMs - system.clock.monotonicMs();
    if (!asked && leftMs > exitMs) host.terminate(reason);
    const waitMs = asked ? exitMs : Math.min(leftMs, host.status ? leftMs : strangerGraceMs);
    await within(system, waitMs, host.gone);
  }
  host.kill(reason);
  return host.gone;
}

/** Resolves with the promise, or with null when the time is over first. */
export async function within<Value>(
  system: System,
  ms: number,
  promise: Promise<Value>,
): Promise<Value | null> {
  const { promise: late, resolve } = Promise.withResolvers<null>();
  const cancel = system.timers.after(ms, () => resolve(null), { keepAlive: true });
  try {
    return await Promise.race([promise, late]);
  } finally {
    cancel();
  }
}
