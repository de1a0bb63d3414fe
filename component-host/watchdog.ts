/**
 * Ends the process when its event loop has stalled past the time for which the host may act. The guard stops by itself at its
 * deadline, but only if its timer gets to run: a component that never gives the loop back, or a process that was frozen and
 * goes on where it was, would write and answer past it. So a thread of its own watches the deadline, which the guard moves with
 * every renewal, and kills the process when neither a later one came nor word that the guard has stopped.
 *
 * The grace after the deadline is half of the guard's margin: the process is gone before its session can end elsewhere. The thread
 * starts when the first key has been open for a moment, for it costs some 12 MB and 50 ms of CPU time. Its program is a string: a
 * bundle has no second file. It shares no code with the loop that it watches, and needs nothing of it to run or to kill.
 */
import { Worker } from 'node:worker_threads';
import type { Logger, System } from '#core';

export interface Watchdog {
  /** Something is owned: from a moment later on, the deadline is watched. */
  begin(): void;
  /** The guard stops in `inMs`, and `marginMs` later at the earliest its session ends elsewhere; null: it has nothing to lose. */
  deadline(end: { inMs: number; marginMs: number } | null): void;
  /** Whether the deadline is watched at this moment. */
  readonly watching: boolean;
  /** Watches no more. Idempotent. */
  stop(): void;
}

export type StartWatchdog = (options: { system: System; log: Logger }) => Watchdog;

const beginMs = 250;

/** Three numbers of the memory that both share. The thread keeps time by itself: it is told how much is left, and that this is new. */
const CHANGES = 0;
const UP = 1;
const LEFT_MS = 2;
/** In place of the time that is left. */
const NOTHING = -1;
const STOP = -2;

const program = `
const { workerData } = require('node:worker_threads');
const shared = new Int32Array(workerData);
const nowMs = () => Number(process.hrtime.bigint() / 1000n) / 1000;
Atomics.store(shared, ${UP}, 1);
let endMs = Infinity;
for (let handled = -1; ; ) {
  const seen = Atomics.load(shared, ${CHANGES});
  if (seen !== handled) {
    handled = seen;
    const left = Atomics.load(shared, ${LEFT_MS});
    if (left === ${STOP}) break;
    endMs = left === ${NOTHING} ? Infinity : nowMs() + left;
  }
  const left = endMs - nowMs();
  if (left > 0) Atomics.wait(shared, ${CHANGES}, seen, left);
  else if (Atomics.load(shared, ${CHANGES}) === seen) process.kill(process.pid, 'SIGKILL');
}
`;

export const startWatchdog: StartWatchdog = ({ system, log }) => {
  const shared = new Int32Array(new SharedArrayBuffer(12));
  let endMs: number | null = null;
  let started = false;
  let cancelBegin: (() => void) | null = null;
  let stopped = false;

  function start(): void {
    started = true;
    tell();
    const worker = new Worker(program, {
      eval: true,
      workerData: shared.buffer,
      name: 'watchdog',
      env: {},
      execArgv: [],
      trackUnmanagedFds: false,
    });
    worker.unref();
    worker.on('online', tell); // it counts from when it is told, and it took a while to come up
    worker.on('error', error => {
      log.error({ err: error }, 'the watchdog ended; an event loop that stalls goes unseen');
    });
    worker.on('exit', () => Atomics.store(shared, UP, 0));
  }

  function tell(): void {
    const leftMs = endMs === null ? NOTHING : Math.max(0, Math.ceil(endMs - system.clock.monotonicMs()));
    Atomics.store(shared, LEFT_MS, stopped ? STOP : leftMs);
    Atomics.add(shared, CHANGES, 1);
    Atomics.notify(shared, CHANGES);
  }

  return {
    begin() {
      if (!stopped) cancelBegin ??= system.timers.after(beginMs, start);
    },
    deadline(end) {
      endMs = end && system.clock.monotonicMs() + end.inMs + end.marginMs / 2;
      if (started) tell();
    },
    get watching() {
      return !stopped && endMs !== null && Atomics.load(shared, UP) === 1;
    },
    stop() {
      if (stopped) return;
      stopped = true;
      cancelBegin?.();
      if (started) tell();
    },
  };
};
