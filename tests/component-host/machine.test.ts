import assert from 'node:assert/strict';
import {
  hostState,
  initialState,
  isSettled,
  PARTS,
  partsUp,
  step,
  type Effect,
  type MachineEvent,
  type MachineState,
  type Part,
} from '#component-host';

const cause = new Error('broken');
const all = PARTS.length;

/** One of each kind of state that has rules of its own. */
const states: Record<string, MachineState> = {
  Awaiting: { type: 'AwaitingConfiguration', up: 0 },
  'Awaiting+pub': { type: 'AwaitingConfiguration', up: 1 },
  Configured: { type: 'Configured', up: 0 },
  'Configured+pub': { type: 'Configured', up: 1 },
  Stopped: { type: 'Stopped', up: 0 },
  'Stopped+pub': { type: 'Stopped', up: 1 },
  Errored: { type: 'Errored', up: 0, cause },
  Started: { type: 'Started' },
  Destroyed: { type: 'Destroyed' },
  Configuring: { type: 'Configuring', what: 'both', rest: { type: 'Configured', up: 0 } },
  'Configuring(pub)': {
    type: 'Configuring',
    what: 'publisher',
    rest: { type: 'AwaitingConfiguration', up: 0 },
  },
  'Starting@0': { type: 'Starting', up: 0, goal: 'all', rest: { type: 'Configured', up: 0 } },
  'Starting@4': { type: 'Starting', up: 4, goal: 'all', rest: { type: 'Configured', up: 1 } },
  'Starting(pub)': {
    type: 'Starting',
    up: 0,
    goal: 'publisher',
    rest: { type: 'AwaitingConfiguration', up: 0 },
  },
  Cancelling: { type: 'Cancelling', up: 2, keep: 0, after: { type: 'Stopped', up: 0 } },
  'Stopping@5': { type: 'Stopping', up: 5, keep: 0, after: { type: 'Stopped', up: 0 } },
  'Stopping@1': { type: 'Stopping', up: 1, keep: 0, after: { type: 'Stopped', up: 0 } },
  'Stopping→pub': { type: 'Stopping', up: 2, keep: 1, after: { type: 'Stopped', up: 1 } },
  'Stopping→Errored': { type: 'Stopping', up: 1, keep: 0, after: { type: 'Errored', up: 0, cause } },
  'Stopping→Destroyed': { type: 'Stopping', up: 1, keep: 0, after: { type: 'Destroyed' } },
};

const events: Record<string, MachineEvent> = {
  configure: { type: 'configure', what: 'both' },
  'configure component': { type: 'configure', what: 'component' },
  'configure publisher': { type: 'configure', what: 'publisher' },
  loaded: { type: 'loaded' },
  'load-failed': { type: 'load-failed' },
  start: { type: 'start', goal: 'all' },
  'start publisher': { type: 'start', goal: 'publisher' },
  'part-up': { type: 'part-up' },
  'part-failed': { type: 'part-failed', cause },
  stop: { type: 'stop', scope: 'all' },
  'stop component': { type: 'stop', scope: 'component' },
  'stop publisher': { type: 'stop', scope: 'publisher' },
  'part-down': { type: 'part-down' },
  'part-down failed': { type: 'part-down', cause },
  shutdown: { type: 'shutdown' },
};

/** `-` refused, `=` unchanged, else the new state and what is done. */
function outcome(state: MachineState, event: MachineEvent): string {
  const next = step(state, event);
  if (!next.allowed) return '-';
  if (next.state === state && next.effects.length === 0) return '=';
  const { type } = next.state;
  const up = 'up' in next.state ? next.state.up : type === 'Started' ? all : 0;
  const then = 'after' in next.state ? `→${next.state.after.type}` : '';
  const effects = next.effects.map(effect =>
    'part' in effect ? ` ${effect.type}:${effect.part}` : ` ${effect.type}`,
  );
  return `${type}@${up}${then}${effects.join('')}`;
}

/** Everything that is not listed is refused. */
const table: Record<string, Record<string, string>> = {
  Awaiting: {
    configure: 'Configuring@0 load',
    'configure component': 'Configuring@0 load',
    'configure publisher': 'Configuring@0 load',
    'start publisher': 'Starting@0 up:publisher',
    shutdown: 'Destroyed@0',
  },
  'Awaiting+pub': {
    'configure component': 'Configuring@0 load',
    stop: 'Stopping@1→AwaitingConfiguration down:publisher',
    'stop publisher': 'Stopping@1→AwaitingConfiguration down:publisher',
    shutdown: 'Stopping@1→Destroyed down:publisher',
  },
  Configured: {
    configure: 'Configuring@0 load',
    'configure component': 'Configuring@0 load',
    'configure publisher': 'Configuring@0 load',
    start: 'Starting@0 up:publisher',
    'start publisher': 'Starting@0 up:publisher',
    shutdown: 'Destroyed@0',
  },
  'Configured+pub': {
    'configure component': 'Configuring@0 load',
    start: 'Starting@1 up:coordination',
    stop: 'Stopping@1→Configured down:publisher',
    'stop publisher': 'Stopping@1→Configured down:publisher',
    shutdown: 'Stopping@1→Destroyed down:publisher',
  },
  Stopped: {
    configure: 'Configuring@0 load',
    'configure component': 'Configuring@0 load',
    'configure publisher': 'Configuring@0 load',
    start: 'Starting@0 up:publisher',
    'start publisher': 'Starting@0 up:publisher',
    shutdown: 'Destroyed@0',
  },
  'Stopped+pub': {
    'configure component': 'Configuring@0 load',
    start: 'Starting@1 up:coordination',
    stop: 'Stopping@1→Stopped down:publisher',
    'stop publisher': 'Stopping@1→Stopped down:publisher',
    shutdown: 'Stopping@1→Destroyed down:publisher',
  },
  Errored: {
    configure: 'Configuring@0 load',
    'configure component': 'Configuring@0 load',
    'configure publisher': 'Configuring@0 load',
    start: 'Starting@0 up:publisher',
    'start publisher': 'Starting@0 up:publisher',
    shutdown: 'Destroyed@0',
  },
  Started: {
    stop: 'Stopping@5→Stopped down:session',
    'stop component': 'Stopping@5→Stopped down:session',
    shutdown: 'Stopping@5→Destroyed down:session',
  },
  Destroyed: {
    shutdown: '=',
  },
  Configuring: {
    loaded: 'Configured@0',
    'load-failed': 'Configured@0',
    shutdown: 'Destroyed@0',
  },
  'Configuring(pub)': {
    loaded: 'AwaitingConfiguration@0',
    'load-failed': 'AwaitingConfiguration@0',
    shutdown: 'Destroyed@0',
  },
  'Starting@0': {
    'part-up': 'Starting@1 up:coordination',
    'part-failed': 'Stopping@1→Errored down:publisher',
    stop: 'Cancelling@0→Stopped cancel',
    'stop component': 'Cancelling@0→Stopped cancel',
    shutdown: 'Cancelling@0→Destroyed cancel',
  },
  'Starting@4': {
    'part-up': 'Started@5',
    'part-failed': 'Stopping@5→Errored down:session',
    stop: 'Cancelling@4→Stopped cancel',
    'stop component': 'Cancelling@4→Stopped cancel',
    shutdown: 'Cancelling@4→Destroyed cancel',
  },
  'Starting(pub)': {
    'part-up': 'AwaitingConfiguration@1',
    'part-failed': 'Stopping@1→AwaitingConfiguration down:publisher',
    stop: 'Cancelling@0→AwaitingConfiguration cancel',
    'stop publisher': 'Cancelling@0→AwaitingConfiguration cancel',
    shutdown: 'Cancelling@0→Destroyed cancel',
  },
  Cancelling: {
    'part-up': 'Stopping@3→Stopped down:component',
    'part-failed': 'Stopping@3→Stopped down:component',
    shutdown: 'Cancelling@2→Destroyed',
  },
  'Stopping@5': {
    'part-down': 'Stopping@4→Stopped down:subscriptions',
    'part-down failed': 'Stopping@4→Errored down:subscriptions',
    shutdown: 'Stopping@5→Destroyed',
  },
  'Stopping@1': {
    'part-down': 'Stopped@0',
    'part-down failed': 'Errored@0',
    shutdown: 'Stopping@1→Destroyed',
  },
  'Stopping→pub': {
    'part-down': 'Stopped@1',
    'part-down failed': 'Errored@1',
    shutdown: 'Stopping@2→Destroyed',
  },
  'Stopping→Errored': {
    'part-down': 'Errored@0',
    'part-down failed': 'Errored@0',
    shutdown: 'Stopping@1→Destroyed',
  },
  'Stopping→Destroyed': {
    'part-down': 'Destroyed@0',
    'part-down failed': 'Destroyed@0',
    shutdown: 'Stopping@1→Destroyed',
  },
};

describe('component-host machine', () => {
  it('answers every event in every state as the table says', () => {
    for (const [stateName, state] of Object.entries(states)) {
      for (const [eventName, event] of Object.entries(events)) {
        const expected = table[stateName]?.[eventName] ?? '-';
        assert.equal(outcome(state, event), expected, `${stateName} × ${eventName}`);
      }
    }
  });

  it('lists no state or event in the table that does not exist', () => {
    for (const [stateName, row] of Object.entries(table)) {
      assert.ok(states[stateName], stateName);
      for (const eventName of Object.keys(row)) assert.ok(events[eventName], eventName);
    }
  });

  it('refuses with HF_WRONG_STATE and a reason', () => {
    const refused = step(states.Started!, events.start!);
    assert.ok(!refused.allowed);
    assert.equal(refused.code, 'HF_WRONG_STATE');
    assert.equal(refused.reason, 'a host that is Started cannot be started');
  });

  it('keeps the cause of a failed start and shows Errored only after the roll-back', () => {
    const failed = run([
      events['configure']!,
      events.loaded!,
      events.start!,
      events['part-up']!,
      events['part-failed']!,
    ]);
    assert.equal(hostState(failed.state), 'Stopping');
    assert.deepEqual(failed.effects.at(-1), { type: 'down', part: 'coordination' });
    const errored = run([events['part-down']!, events['part-down']!], failed.state);
    assert.deepEqual(errored.state, { type: 'Errored', up: 0, cause });
  });

  it('walks every reachable state: one effect at a time, in order up and in reverse down', () => {
    const commands = Object.values(events).filter(event => !isOutcome(event));
    const seen = new Map<string, MachineState>();
    const queue: { state: MachineState; awaited: Effect | null; begun: Part[] }[] = [
      { state: initialState, awaited: null, begun: [] },
    ];
    while (queue.length > 0) {
      const { state, awaited, begun } = queue.pop()!;
      const name = JSON.stringify([state, awaited, begun]);
      if (seen.has(name)) continue;
      seen.set(name, state);
      assert.equal(awaited === null, isSettled(state), `${name} waits for something exactly when it is busy`);
      assert.deepEqual(begun.slice(0, partsUp(state).length), partsUp(state));
      for (const event of [...commands, ...outcomesOf(awaited)]) {
        const next = step(state, event);
        if (!next.allowed) continue;
        // A load under way at the shutdown is left to itself.
        const leftAlone = event.type === 'shutdown' && awaited?.type === 'load';
        let waits = isOutcome(event) || leftAlone ? null : awaited;
        let parts = event.type === 'part-down' ? begun.slice(0, -1) : begun;
        for (const effect of next.effects) {
          if (effect.type === 'cancel') continue; // the outcome of what it cancels is still to come
          assert.equal(waits, null, `${name} × ${event.type} begins a second effect`);
          waits = effect;
          if (effect.type === 'up') {
            assert.equal(effect.part, PARTS[parts.length], 'brought up in order');
            parts = [...parts, effect.part];
          }
          if (effect.type === 'down') {
            assert.equal(effect.part, parts.at(-1), 'taken down in reverse order');
          }
        }
        queue.push({ state: next.state, awaited: waits, begun: parts });
      }
    }
    assert.ok(seen.size > 100, `only ${seen.size} states were reached`);
  });

  it('ends in Destroyed, with nothing left up, from every state that a shutdown meets', () => {
    for (const [name, state] of Object.entries(states)) {
      let { state: current } = run([events.shutdown!], state);
      for (let turn = 0; turn < 10 && current.type !== 'Destroyed'; turn++) {
        current = run(
          [current.type === 'Cancelling' ? events['part-failed']! : events['part-down']!],
          current,
        ).state;
      }
      assert.equal(current.type, 'Destroyed', name);
      assert.deepEqual(partsUp(current), []);
    }
  });
});

function run(
  given: MachineEvent[],
  from: MachineState = initialState,
): { state: MachineState; effects: Effect[] } {
  let state = from;
  const effects: Effect[] = [];
  for (const event of given) {
    const next = step(state, event);
    assert.ok(next.allowed, `${event.type} in ${state.type}`);
    state = next.state;
    effects.push(...next.effects);
  }
  return { state, effects };
}

function isOutcome(event: MachineEvent): boolean {
  return ['loaded', 'load-failed', 'part-up', 'part-failed', 'part-down'].includes(event.type);
}

function outcomesOf(effect: Effect | null): MachineEvent[] {
  switch (effect?.type) {
    case 'load':
      return [events.loaded!, events['load-failed']!];
    case 'up':
      return [events['part-up']!, events['part-failed']!];
    case 'down':
      return [events['part-down']!, events['part-down failed']!];
    default:
      return [];
  }
}
