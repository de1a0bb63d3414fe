/**
 * Performs what the machine decides: one part at a time, each with a deadline, and feeds the outcomes back. A command
 * resolves when the machine has settled, and rejects with what kept it from what was asked. Design: `machine.ts`.
 */
import { strict as assert } from 'node:assert';
import { HoldfastError, type Logger, type System } from '#core';
import { withDeadline } from './deadline.ts';
import {
  hostState,
  initialState,
  isSettled,
  step,
  type Effect,
  type Goal,
  type MachineEvent,
  type MachineState,
  type Part,
  type Scope,
  type What,
} from './machine.ts';

/** Brings the parts up and down. A `signal` aborts when the outcome is not waited for much longer. */
export interface PartRunner {
  up(part: Part, signal: AbortSignal): Promise<void>;
  /** Is also called for a part whose `up` failed: it must cope with what has only begun. */
  down(part: Part, signal: AbortSignal): Promise<void>;
}

export interface LifecycleOptions {
  system: System;
  log: Logger;
  runner: PartRunner;
  /** After every transition. */
  onChange: (state: MachineState) => void;
  /** A failure of a part, for the list of errors. */
  onFailure: (cause: unknown, during: string) => void;
  /** How long one part may take to come up. */
  startMs: number;
  /** How long all parts together may take to go down, unless the command says otherwise. */
  stopMs: number;
}

/** Shares of the time for a stop. */
const stopShare: Record<Part, number> = {
  session: 0.5,
  subscriptions: 0.1,
  component: 0.25,
  coordination: 0.05,
  publisher: 0.1,
};
assert(Object.values(stopShare).reduce((sum, share) => sum + share, 0) <= 1 + Number.EPSILON);

/** How long a start whose signal aborted may take to notice. */
const noticeMs = 500;
/** The same for a stop, as part of its time. */
const noticeShare = 0.2;

type FailureCode = 'HF_START_FAILED' | 'HF_COMPONENT_FAILED';

/** One command that waits for the machine to settle. */
interface Waiter {
  event: MachineEvent;
  outcome: PromiseWithResolvers<void>;
}

export class Lifecycle {
  readonly #options: LifecycleOptions;
  #state: MachineState = initialState;
  #waiters: Waiter[] = [];
  /** The first failure since the machine settled last: later ones follow from it. */
  #failure: { cause: unknown } | null = null;
  #load: (() => Promise<void>) | null = null;
  #starting: AbortController | null = null;
  #stopMs: number;

  constructor(options: LifecycleOptions) {
    this.#options = options;
    this.#stopMs = options.stopMs;
  }

  get state(): MachineState {
    return this.#state;
  }

  /** `load` prepares the packages and changes nothing unless it succeeds. Its rejection leaves the state as it was. */
  configure(what: What, load: () => Promise<void>): Promise<void> {
    return this.#command({ type: 'configure', what }, () => (this.#load = load));
  }

  /** @throws HoldfastError HF_START_FAILED after everything that was begun has been taken down again */
  start(goal: Goal = 'all'): Promise<void> {
    return this.#command({ type: 'start', goal });
  }

  /** @throws HoldfastError HF_COMPONENT_FAILED when a part did not stop; the others were stopped all the same */
  stop(scope: Scope = 'all', budgetMs = this.#options.stopMs): Promise<void> {
    return this.#command({ type: 'stop', scope }, () => (this.#stopMs = budgetMs));
  }

  /** Stops whatever runs; the end of the machine. Never rejects: what fails is logged and listed, and the process ends anyway. */
  shutdown(budgetMs = this.#options.stopMs): Promise<void> {
    return this.#command({ type: 'shutdown' }, () => (this.#stopMs = budgetMs));
  }

  async #command(event: MachineEvent, prepare?: () => void): Promise<void> {
    const checked = step(this.#state, event);
    if (!checked.allowed) throw new HoldfastError(checked.code, checked.reason);
    prepare?.();
    const outcome = Promise.withResolvers<void>();
    this.#waiters.push({ event, outcome });
    this.#submit(event);
    await outcome.promise;
  }

  /** Feeds an event to the machine and performs what follows. */
  #submit(event: MachineEvent): void {
    const next = step(this.#state, event);
    if (!next.allowed) {
      this.#options.log.debug({ event: event.type, reason: next.reason }, 'an outcome came too late');
      return;
    }
    const before = hostState(this.#state);
    this.#state = next.state;
    const after = hostState(next.state);
    if (before !== after) this.#options.log.info({ from: before, to: after }, 'host state changed');
    this.#options.onChange(next.state);
    for (const effect of next.effects) this.#perform(effect);
    if (isSettled(next.state)) this.#settle();
  }

  #settle(): void {
    const [waiters, failure] = [this.#waiters, this.#failure];
    this.#waiters = [];
    this.#failure = null;
    for (const { event, outcome } of waiters) {
      const problem = verdict(event, this.#state, failure);
      if (problem) outcome.reject(problem);
      else outcome.resolve();
    }
  }

  #perform(effect: Effect): void {
    switch (effect.type) {
      case 'load':
        void this.#loadPackages();
        break;
      case 'up':
        void this.#bringUp(effect.part);
        break;
      case 'down':
        void this.#takeDown(effect.part);
        break;
      case 'cancel':
        this.#starting?.abort(cancelled());
        break;
    }
  }

  async #loadPackages(): Promise<void> {
    try {
      await this.#load?.();
      this.#submit({ type: 'loaded' });
    } catch (cause) {
      this.#fail(cause, 'configuring');
      this.#submit({ type: 'load-failed' });
    }
  }

  async #bringUp(part: Part): Promise<void> {
    const { system, runner, startMs } = this.#options;
    const controller = new AbortController();
    this.#starting = controller;
    try {
      await withDeadline(signal => runner.up(part, signal), {
        system,
        what: `starting the ${part}`,
        deadlineMs: startMs,
        noticeMs,
        late: 'failed',
        signal: controller.signal,
      });
      this.#submit({ type: 'part-up' });
    } catch (cause) {
      if (!controller.signal.aborted) this.#fail(cause, `starting the ${part}`);
      this.#submit({ type: 'part-failed', cause });
    }
  }

  async #takeDown(part: Part): Promise<void> {
    const { system, runner } = this.#options;
    const budgetMs = this.#stopMs * stopShare[part];
    let failure: { cause?: unknown } = {};
    try {
      await withDeadline(signal => runner.down(part, signal), {
        system,
        what: `stopping the ${part}`,
        deadlineMs: budgetMs * (1 - noticeShare),
        noticeMs: budgetMs * noticeShare,
        late: 'accepted',
      });
    } catch (cause) {
      this.#fail(cause, `stopping the ${part}`);
      failure = { cause };
    }
    this.#submit({ type: 'part-down', ...failure });
  }

  #fail(cause: unknown, during: string): void {
    this.#failure ??= { cause };
    this.#options.log.error({ err: cause, during }, 'a part of the host failed');
    this.#options.onFailure(cause, during);
  }
}

/** What a command has to tell its caller, now that the machine has settled; null when it got what it asked for. */
function verdict(
  event: MachineEvent,
  state: MachineState,
  failure: { cause: unknown } | null,
): HoldfastError | null {
  switch (event.type) {
    case 'shutdown':
      return null;
    case 'start': {
      const reached = event.goal === 'all' ? state.type === 'Started' : 'up' in state && state.up > 0;
      if (reached) return null;
      return failure ? asError(failure.cause, 'HF_START_FAILED') : cancelled();
    }
    default: {
      if (event.type === 'configure' && state.type === 'Destroyed') {
        return new HoldfastError('HF_WRONG_STATE', 'the host was shut down');
      }
      const code = event.type === 'stop' ? 'HF_COMPONENT_FAILED' : 'HF_START_FAILED';
      return failure ? asError(failure.cause, code) : null;
    }
  }
}

function cancelled(): HoldfastError {
  return new HoldfastError('HF_WRONG_STATE', 'the start was cancelled by a stop');
}

/** Holdfast's own errors say it best themselves; foreign ones are wrapped, with their text. */
function asError(cause: unknown, code: FailureCode): HoldfastError {
  if (cause instanceof HoldfastError) return cause;
  const text = cause instanceof Error ? cause.message : String(cause);
  return new HoldfastError(code, text, { cause, details: { cause: text } });
}
