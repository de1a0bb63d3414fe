/**
 * The life of a host as data: which commands are allowed when, and which part is brought up or taken down next. Pure;
 * `lifecycle.ts` performs the effects and feeds their outcomes back.
 *
 * The parts run in the order of `PARTS` and `up` counts how many of them do, so that what runs is always a prefix:
 * nothing can serve before its publisher runs, and nothing outlives it. At most one effect is under way at any time.
 *
 * ```mermaid
 * stateDiagram-v2
 *   [*] --> AwaitingConfiguration
 *   AwaitingConfiguration --> Configuring: configure
 *   Configured --> Configuring: configure
 *   Stopped --> Configuring: configure
 *   Errored --> Configuring: configure
 *   Configuring --> Configured: loaded
 *   Configuring --> AwaitingConfiguration: loaded (only a publisher yet)
 *   note right of Configuring: load-failed leads back to the state it came from
 *   Configured --> Starting: start
 *   Stopped --> Starting: start
 *   Errored --> Starting: start
 *   Starting --> Starting: part-up
 *   Starting --> Started: part-up (the last one)
 *   Starting --> Stopping: part-failed (then Errored)
 *   Starting --> Cancelling: stop, shutdown
 *   Cancelling --> Stopping: part-up, part-failed
 *   Started --> Stopping: stop, shutdown
 *   Stopping --> Stopping: part-down
 *   Stopping --> Stopped: part-down (the last one)
 *   Stopping --> Errored: part-down (after a failure)
 *   Stopping --> Destroyed: part-down (after shutdown)
 *   Destroyed --> [*]
 * ```
 *
 * The publisher alone can be started and stopped as well (`goal: 'publisher'`); the state then stays what it was.
 */
import type { ErrorCode, HostState } from '#core';

/** In the order in which they are brought up; taken down in the reverse. */
export const PARTS = ['publisher', 'coordination', 'component', 'subscriptions', 'session'] as const;
export type Part = (typeof PARTS)[number];

const all = PARTS.length;
const publisherOnly = 1;

/** A state that lasts until the next command. Only the publisher may run in it. */
export type Rest =
  | { type: 'AwaitingConfiguration' | 'Configured' | 'Stopped'; up: number }
  | { type: 'Errored'; up: number; cause: unknown };

export type MachineState =
  | Rest
  | { type: 'Started' }
  | { type: 'Destroyed' }
  /** Packages are being loaded; a failure leads back to `rest`. */
  | { type: 'Configuring'; what: What; rest: Rest }
  /** `PARTS[up]` is on its way up. */
  | { type: 'Starting'; up: number; goal: Goal; rest: Rest }
  /** `PARTS[up]` is on its way up and was told to give up. */
  | { type: 'Cancelling'; up: number; keep: number; after: Rest | { type: 'Destroyed' } }
  /** `PARTS[up - 1]` is on its way down, until only `keep` parts are left. */
  | { type: 'Stopping'; up: number; keep: number; after: Rest | { type: 'Destroyed' } };

export type What = 'component' | 'publisher' | 'both';
export type Goal = 'publisher' | 'all';
export type Scope = 'publisher' | 'component' | 'all';

export type MachineEvent =
  | { type: 'configure'; what: What }
  | { type: 'loaded' }
  | { type: 'load-failed' }
  | { type: 'start'; goal: Goal }
  | { type: 'part-up' }
  | { type: 'part-failed'; cause: unknown }
  | { type: 'stop'; scope: Scope }
  | { type: 'part-down'; cause?: unknown }
  | { type: 'shutdown' };

export type Effect =
  { type: 'load' } | { type: 'up'; part: Part } | { type: 'down'; part: Part } | { type: 'cancel' };

export type Step =
  | { allowed: true; state: MachineState; effects: Effect[] }
  | { allowed: false; code: ErrorCode; reason: string };

export const initialState: MachineState = { type: 'AwaitingConfiguration', up: 0 };

/** The one transition function. */
export function step(state: MachineState, event: MachineEvent): Step {
  switch (event.type) {
    case 'configure':
      return configure(state, event.what);
    case 'loaded':
      return state.type === 'Configuring' ? to(afterLoad(state.what, state.rest)) : outOfTurn(state, event);
    case 'load-failed':
      return state.type === 'Configuring' ? to(state.rest) : outOfTurn(state, event);
    case 'start':
      return start(state, event.goal);
    case 'part-up':
      if (state.type === 'Starting') return climb({ ...state, up: state.up + 1 });
      if (state.type === 'Cancelling') return descend({ ...state, up: state.up + 1 });
      return outOfTurn(state, event);
    case 'part-failed':
      // The part that failed has begun, so it is taken down as well.
      if (state.type === 'Starting') {
        const after: Rest =
          state.goal === 'publisher'
            ? state.rest
            : { type: 'Errored', up: state.rest.up, cause: event.cause };
        return descend({ up: state.up + 1, keep: state.rest.up, after });
      }
      if (state.type === 'Cancelling') return descend({ ...state, up: state.up + 1 });
      return outOfTurn(state, event);
    case 'stop':
      return stop(state, event.scope);
    case 'part-down':
      return state.type === 'Stopping' ? partDown(state, event.cause) : outOfTurn(state, event);
    case 'shutdown':
      return shutdown(state);
  }
}

/** The state in the words of the contract. What is on its way up still counts as what it was. */
export function hostState(state: MachineState): HostState {
  switch (state.type) {
    case 'Configuring':
      return state.rest.type;
    case 'Starting':
      return state.goal === 'all' ? 'Configured' : state.rest.type;
    case 'Cancelling':
      return 'Stopping';
    default:
      return state.type;
  }
}

/** The parts that are completely up. */
export function partsUp(state: MachineState): readonly Part[] {
  return PARTS.slice(0, countUp(state));
}

/** Whether the state lasts until the next command. */
export function isSettled(state: MachineState): boolean {
  return isRest(state) || state.type === 'Started' || state.type === 'Destroyed';
}

function configure(state: MachineState, what: What): Step {
  if (!isRest(state)) return wrongState(`a host that is ${hostState(state)} cannot be configured`);
  if (state.up > 0 && what !== 'component') return wrongState('the publisher runs; stop it first');
  return to({ type: 'Configuring', what, rest: state }, [{ type: 'load' }]);
}

function afterLoad(what: What, rest: Rest): Rest {
  // A publisher alone is nothing to start yet.
  if (what === 'publisher' && rest.type === 'AwaitingConfiguration') return rest;
  return { type: 'Configured', up: rest.up };
}

function start(state: MachineState, goal: Goal): Step {
  if (!isRest(state)) return wrongState(`a host that is ${hostState(state)} cannot be started`);
  if (goal === 'publisher') {
    if (state.up > 0) return wrongState('the publisher runs already');
  } else if (state.type === 'AwaitingConfiguration') {
    return wrongState('no component is configured');
  }
  return climb({ up: state.up, goal, rest: state });
}

/** Brings up the next part, or arrives. */
function climb({ up, goal, rest }: { up: number; goal: Goal; rest: Rest }): Step {
  if (up < (goal === 'publisher' ? publisherOnly : all)) {
    return to({ type: 'Starting', up, goal, rest }, [{ type: 'up', part: PARTS[up]! }]);
  }
  return to(goal === 'publisher' ? { ...rest, up } : { type: 'Started' });
}

function stop(state: MachineState, scope: Scope): Step {
  const keep = scope === 'component' ? publisherOnly : 0;
  if (state.type === 'Started') {
    if (scope === 'publisher')
      return wrongState('the component runs and needs its publisher; stop the component');
    return descend({ up: all, keep, after: { type: 'Stopped', up: keep } });
  }
  if (state.type === 'Starting') {
    if (state.goal === 'publisher' && scope !== 'component') return cancel(state, 0, state.rest);
    if (state.goal === 'all' && scope !== 'publisher') {
      const left = Math.min(keep, state.up);
      return cancel(state, left, { type: 'Stopped', up: left });
    }
  }
  if (isRest(state) && state.up > 0 && scope !== 'component') {
    return descend({ up: state.up, keep: 0, after: state });
  }
  const running = scope === 'publisher' ? 'the publisher does not run' : 'nothing runs';
  return wrongState(`the host is ${hostState(state)}: ${running} that could be stopped`);
}

function shutdown(state: MachineState): Step {
  const after = { type: 'Destroyed' } as const;
  switch (state.type) {
    case 'Starting':
      return cancel(state, 0, after);
    case 'Cancelling':
    case 'Stopping':
      return to({ ...state, keep: 0, after }); // what is under way goes on, and further
    case 'Configuring':
      return descend({ up: state.rest.up, keep: 0, after });
    case 'Destroyed':
      return to(state);
    default:
      return descend({ up: countUp(state), keep: 0, after });
  }
}

function cancel(
  state: { up: number },
  keep: number,
  after: (MachineState & { type: 'Cancelling' })['after'],
): Step {
  return to({ type: 'Cancelling', up: state.up, keep, after }, [{ type: 'cancel' }]);
}

/** Takes down the next part, or arrives. */
function descend({
  up,
  keep,
  after,
}: {
  up: number;
  keep: number;
  after: Rest | { type: 'Destroyed' };
}): Step {
  if (up > keep) return to({ type: 'Stopping', up, keep, after }, [{ type: 'down', part: PARTS[up - 1]! }]);
  return to(after.type === 'Destroyed' ? after : { ...after, up });
}

function partDown(state: MachineState & { type: 'Stopping' }, cause: unknown): Step {
  // A part that did not let go may still hold something: that is shown, and the first failure is the one that counts.
  const { after } = state;
  if (cause !== undefined && (after.type === 'Stopped' || after.type === 'Configured')) {
    return descend({ ...state, up: state.up - 1, after: { type: 'Errored', up: after.up, cause } });
  }
  return descend({ ...state, up: state.up - 1 });
}

function countUp(state: MachineState): number {
  switch (state.type) {
    case 'Started':
      return all;
    case 'Destroyed':
      return 0;
    case 'Configuring':
      return state.rest.up;
    default:
      return state.up;
  }
}

function isRest(state: MachineState): state is Rest {
  return (
    state.type === 'AwaitingConfiguration' ||
    state.type === 'Configured' ||
    state.type === 'Stopped' ||
    state.type === 'Errored'
  );
}

function to(state: MachineState, effects: Effect[] = []): Step {
  return { allowed: true, state, effects };
}

function wrongState(reason: string): Step {
  return { allowed: false, code: 'HF_WRONG_STATE', reason };
}

/** The outcome of an effect that nobody waits for any more, such as a load that ends after the shutdown. */
function outOfTurn(state: MachineState, event: MachineEvent): Step {
  return wrongState(`${event.type} has no meaning in ${state.type}`);
}
