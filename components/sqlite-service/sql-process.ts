/**
 * One SQL process as its host sees it: a queue in front, one call at a time, a deadline for each. The process is kept
 * running; when it ends for whatever reason, a fresh one takes the rest of the queue, after what the old one was
 * reading, or opening, when it ended: that does no harm twice.
 *
 * ```
 * absent ──spawn──▶ starting ──ready──▶ ready ──exit──▶ absent (and at once starting again)
 *    ▲                  │ exit: what waits is refused
 *    └──────────────────┘                  any ──stop──▶ stopped
 * ```
 */
import { fork, type ChildProcess } from 'node:child_process';
import type { Logger } from '#core';
import type { Launcher } from './launcher.ts';
import { ServiceError } from './service-error.ts';
import {
  SQL_WORKER_FLAG,
  type WorkerCall,
  type WorkerMessage,
  type WorkerOptions,
} from './worker-protocol.ts';

export interface Answer {
  text: string;
  wrote: boolean;
}

export interface CallSignals {
  /**
   * The right to the key has ended: a waiting call is dropped, and a running one ended with its process, so that it
   * does not keep the next owner waiting for a lock.
   */
  right?: AbortSignal;
  /** Nobody waits for the answer any more: a waiting call is dropped. */
  client?: AbortSignal;
}

export interface SqlProcess {
  /** Resolves when it can take calls. */
  start(): Promise<void>;
  /**
   * Queues a call.
   * @throws what the SQL process reports, or HF_SQL_DEADLINE, HF_NOT_OWNER, HF_OUTCOME_UNKNOWN, HF_UNAVAILABLE
   */
  call(call: WorkerCall, signals: CallSignals): Promise<Answer>;
  stop(signal: AbortSignal): Promise<void>;
}

export interface SqlProcessOptions {
  /** The module that becomes a SQL process when it sees the flag. */
  file: string;
  launcher: Launcher;
  worker: Omit<WorkerOptions, 'watchParent'>;
  deadlineMs: number;
  maxQueued: number;
  log: Logger;
}

interface Job {
  call: WorkerCall;
  signals: CallSignals;
  onAbort: () => void;
  /** Its process ended under it already; it may not be the one who ends them all. */
  repeated: boolean;
  resolve: (answer: Answer) => void;
  reject: (error: Error) => void;
}

type State =
  | { name: 'absent' }
  | { name: 'stopped' }
  | { name: 'starting'; child: ChildProcess }
  | { name: 'ready'; child: ChildProcess; running: Running | null };

interface Running {
  job: Job;
  cancelDeadline: () => void;
  /** Why the process is being ended, if it is; the first cause wins. */
  verdict: ServiceError | null;
}

export function createSqlProcess(options: SqlProcessOptions): SqlProcess {
  let state: State = { name: 'absent' };
  const waiting: Job[] = [];
  const starters: PromiseWithResolvers<void>[] = [];

  function spawn(): void {
    const { launcher } = options;
    const workerOptions: WorkerOptions = { ...options.worker, watchParent: launcher.watchParent };
    const child = fork(options.file, [SQL_WORKER_FLAG, JSON.stringify(workerOptions)], {
      execPath: launcher.execPath,
      execArgv: launcher.execArgv,
      serialization: 'advanced',
      stdio: ['pipe', 'ignore', 'inherit', 'ipc'],
    });
    child.stdin?.on('error', () => {}); // nothing is ever written; its end is what the other side watches
    state = { name: 'starting', child };
    child.on('message', message => onMessage(child, message as WorkerMessage));
    child.on('error', error => {
      if (child.pid === undefined) onEnd(child, error.message); // else it lives, and `exit` will tell
    });
    child.once('exit', (code, signal) => onEnd(child, `exit ${signal ?? code}`));
  }

  function onMessage(child: ChildProcess, message: WorkerMessage): void {
    if (state.name === 'stopped' || state.name === 'absent' || state.child !== child) return;
    if (message.type === 'ready') {
      state = { name: 'ready', child, running: null };
      for (const starter of starters.splice(0)) starter.resolve();
    } else if (state.name === 'ready' && state.running) {
      const { job } = finish(state.running);
      state.running = null;
      if (message.type === 'done') job.resolve({ text: message.text, wrote: message.wrote });
      else {
        const { code, message: text, details } = message.failure;
        job.reject(new ServiceError(code, text, details));
      }
    }
    pump();
  }

  function onEnd(child: ChildProcess, reason: string): void {
    if (state.name === 'stopped' || state.name === 'absent' || state.child !== child) return;
    const ended = state;
    state = { name: 'absent' };
    if (ended.name === 'starting') {
      // Trying again at once would only repeat it; the next call tries again.
      const error = new ServiceError('HF_UNAVAILABLE', `the SQL process did not start: ${reason}`);
      for (const starter of starters.splice(0)) starter.reject(error);
      for (const job of waiting.splice(0)) refuse(job, error);
      return;
    }
    if (ended.running) {
      const { job, verdict } = finish(ended.running);
      if (verdict) job.reject(verdict);
      else if (job.repeated || mayHaveWritten(job.call)) {
        job.reject(
          new ServiceError(
            'HF_OUTCOME_UNKNOWN',
            'the SQL process ended while it ran this; it was either committed whole or not at all',
          ),
        );
      } else {
        job.repeated = true;
        enqueue(job, 'first');
      }
    }
    if (!ended.running?.verdict) options.log.warn({ pid: child.pid, reason }, 'SQL process ended');
    spawn(); // kept warm
  }

  function pump(): void {
    if (state.name === 'absent' && waiting.length > 0) spawn();
    if (state.name !== 'ready' || state.running) return;
    const job = waiting.shift();
    if (!job) return;
    if (job.signals.client?.aborted) {
      refuse(job, new ServiceError('HF_UNAVAILABLE', 'the client went away before this was executed'));
      return pump();
    }
    const { child } = state;
    const deadline = AbortSignal.timeout(options.deadlineMs);
    const onDeadline = (): void => end(tooSlow(options.deadlineMs));
    deadline.addEventListener('abort', onDeadline);
    // Without a listener the signal, and its timer, are garbage.
    const cancelDeadline = (): void => deadline.removeEventListener('abort', onDeadline);
    state.running = { job, cancelDeadline, verdict: null };
    // A failure to send means that the process is gone; `exit` follows and settles the job.
    child.send(job.call, () => {});
  }

  function enqueue(job: Job, place: 'first' | 'last'): void {
    if (place === 'first') waiting.unshift(job);
    else waiting.push(job);
    const { right } = job.signals;
    if (right?.aborted) abort(job);
    else right?.addEventListener('abort', job.onAbort, { once: true });
  }

  /** Ends the process for the sake of the call that it runs. */
  function end(verdict: ServiceError): void {
    if (state.name !== 'ready' || !state.running) return;
    state.running.verdict ??= verdict;
    state.child.kill('SIGKILL');
  }

  function abort(job: Job): void {
    const place = waiting.indexOf(job);
    if (place >= 0) {
      waiting.splice(place, 1);
      refuse(job, new ServiceError('HF_NOT_OWNER', 'the right to the key ended before this was executed'));
    } else if (state.name === 'ready' && state.running?.job === job) {
      end(
        mayHaveWritten(job.call)
          ? new ServiceError(
              'HF_OUTCOME_UNKNOWN',
              'the right to the key ended while this ran; it was either committed whole or not at all',
            )
          : new ServiceError('HF_NOT_OWNER', 'the right to the key ended while this was read'),
      );
    }
  }

  return {
    start() {
      const starter = Promise.withResolvers<void>();
      if (state.name === 'ready') starter.resolve();
      else if (state.name === 'stopped') starter.reject(stopped());
      else {
        starters.push(starter);
        if (state.name === 'absent') spawn();
      }
      return starter.promise;
    },
    call(call, signals) {
      if (state.name === 'stopped') return Promise.reject(stopped());
      if (waiting.length >= options.maxQueued && call.type !== 'close') {
        return Promise.reject(
          new ServiceError('HF_UNAVAILABLE', `${options.maxQueued} requests wait already`),
        );
      }
      return new Promise((resolve, reject) => {
        const job: Job = { call, signals, resolve, reject, onAbort: () => abort(job), repeated: false };
        enqueue(job, 'last');
        pump();
      });
    },
    async stop(signal) {
      const last = state;
      state = { name: 'stopped' };
      for (const job of waiting.splice(0)) refuse(job, stopped());
      for (const starter of starters.splice(0)) starter.reject(stopped());
      if (last.name === 'absent' || last.name === 'stopped') return;
      if (last.name === 'ready' && last.running) {
        finish(last.running).job.reject(stopped());
        last.child.kill('SIGKILL'); // nobody waits for its result any more
      }
      await endGently(last.child, signal);
    },
  };
}

/** An opening that was committed already refuses its own fence, and then the host takes a higher one. */
function mayHaveWritten(call: WorkerCall): boolean {
  return call.type === 'execute' && !call.input.readOnly;
}

/** Lets it close its files; kills it when the signal aborts first. */
function endGently(child: ChildProcess, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return resolve();
    const kill = (): void => void child.kill('SIGKILL');
    child.once('exit', () => {
      signal.removeEventListener('abort', kill);
      resolve();
    });
    if (signal.aborted) kill();
    else signal.addEventListener('abort', kill, { once: true });
    if (child.connected) child.disconnect();
  });
}

function finish(running: Running): Running {
  running.cancelDeadline();
  running.job.signals.right?.removeEventListener('abort', running.job.onAbort);
  return running;
}

function refuse(job: Job, error: ServiceError): void {
  job.signals.right?.removeEventListener('abort', job.onAbort);
  job.reject(error);
}

function stopped(): ServiceError {
  return new ServiceError('HF_UNAVAILABLE', 'the service is stopping');
}

function tooSlow(deadlineMs: number): ServiceError {
  return new ServiceError(
    'HF_SQL_DEADLINE',
    `the SQL took longer than ${deadlineMs} ms and was ended; what was not committed yet is rolled back`,
    { deadlineMs },
  );
}
