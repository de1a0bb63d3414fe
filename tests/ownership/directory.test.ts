/** Single rules of the directory that the random histories and the conformance suite do not reach. */
import assert from 'node:assert/strict';
import type { Claim, Fence, InstanceId, NodeName, OpenSession, ProcessId, SessionId } from '#core';
import { Directory, type DirectoryOptions } from '../../ownership/directory/directory.ts';
import { ClaimStorage } from '../support/claim-storage.ts';
import { key, pool } from './vocabulary.ts';

const fence = (value: number) => BigInt(value) as Fence;

class Store {
  counter = 0n;
  loads = 0;
  readonly storage = new ClaimStorage();

  start(options: DirectoryOptions = {}): Directory {
    return new Directory(
      {
        nextFence: () => ++this.counter as Fence,
        fenceAbove: above => (this.counter = (above > this.counter ? above : this.counter) + 1n) as Fence,
        fenceSeen: seen => {
          if (seen > 1_000_000n) throw new RangeError('no fence can be that high');
          if (seen > this.counter) this.counter = seen;
        },
        newSessionId: () => `s${++this.#ids}` as SessionId,
        loadClaim: (of, name) => {
          this.loads++;
          return this.storage.load(of, name);
        },
      },
      { sessions: this.storage.loadSessions(), ...options },
    );
  }
  #ids = 0;
}

let attempts = 0;
function facts(name: string, more: Partial<OpenSession> = {}): OpenSession {
  const { processId, nodeName } = { processId: name as ProcessId, nodeName: 'n' as NodeName };
  const address = `http://${name}`;
  const rest = { ownsResources: true, capacity: 1, ttlMs: 100, attempt: ++attempts };
  return { pool, processId, nodeName, address, ...rest, ...more };
}

function claim(directory: Directory, name: string, nowMs = 0): Claim {
  const outcome = directory.claim(pool, key(name), nowMs);
  assert(outcome.owned);
  return outcome.claim;
}

const held = (name: string, value: number, more: { alarmAtMs?: number } = {}) => ({
  key: key(name),
  fence: fence(value),
  opened: false,
  alarmAtMs: null,
  ...more,
});

describe('the rules of the directory', () => {
  let store: Store;
  beforeEach(() => {
    store = new Store();
  });

  it('know nothing of a pool that nobody serves', () => {
    const directory = store.start();
    assert.deepEqual(directory.sessions('none' as InstanceId, 0), []);
    assert.equal(directory.expire(0), null);
    assert.equal(directory.hasOutput, false);
  });

  it('refuse a host a key that another one owns under the same fence', () => {
    const directory = store.start();
    const { sessionId: owner } = directory.openSession(facts('h1'), 0);
    const owned = claim(directory, 'a');
    const { sessionId, refused } = directory.resumeSession(facts('h2'), [held('a', 1)], 0);
    assert.deepEqual(refused, [key('a')]);
    assert.deepEqual(directory.adopt(sessionId, [held('a', 1)], 0), [key('a')]);
    assert.equal(directory.lookup(pool, owned.key, 0)?.sessionId, owner);
  });

  it('refuse a host a key that somebody else had after it, though nobody has it now', () => {
    const directory = store.start();
    directory.openSession(facts('h1'), 0);
    claim(directory, 'a');
    directory.endSessionsOf('h1' as ProcessId, 0);
    directory.openSession(facts('h2'), 0);
    assert.equal(claim(directory, 'a').fence, 2n);
    directory.endSessionsOf('h2' as ProcessId, 0);
    assert.deepEqual(directory.resumeSession(facts('h3'), [held('a', 1)], 0).refused, [key('a')]);
    assert.deepEqual(
      directory.resumeSession(facts('h3'), [held('a', 3)], 0).refused,
      [key('a')],
      'a fence of no record',
    );
    assert.deepEqual(directory.resumeSession(facts('h3'), [held('a', 2)], 0).refused, []);
  });

  it('give a key to the higher fence while they collect, and tell the host that had it', () => {
    const directory = store.start({ collectUntilMs: 50 });
    const low = directory.resumeSession(facts('h1'), [held('a', 5), held('b', 9)], 0);
    const high = directory.resumeSession(facts('h2'), [held('a', 7), held('b', 8)], 0);
    assert.deepEqual([low.refused, high.refused], [[], [key('b')]]);
    assert.deepEqual(
      directory.sessions(pool, 0).map(session => session.keys),
      [1, 1],
    );
    const { events } = directory.takeOutput();
    assert.deepEqual(
      events.filter(({ type }) => type === 'moved'),
      [{ type: 'moved', claim: directory.lookup(pool, key('a'), 0), from: low.sessionId }],
    );
    // The same host with a higher fence than it had said has moved nothing.
    assert.deepEqual(directory.adopt(high.sessionId, [held('a', 8)], 0), []);
    assert.deepEqual(directory.takeOutput().events, []);
  });

  it('collect up to the very millisecond, and not longer', () => {
    const directory = store.start({ collectUntilMs: 50 });
    directory.openSession(facts('h1'), 0);
    assert.deepEqual(directory.claim(pool, key('a'), 49), { owned: false, reason: 'recovering' });
    assert.equal(directory.renewSession('of before' as SessionId, 49).forgotten, true);
    assert.deepEqual(directory.resumeSession(facts('h2'), [held('b', 1)], 49).refused, []);
    assert.deepEqual(directory.resumeSession(facts('h3'), [held('c', 1)], 50).refused, [key('c')]);
    assert.equal(directory.renewSession('of before' as SessionId, 50).forgotten, undefined);
    assert(directory.claim(pool, key('a'), 50).owned);
  });

  it('name a paused key paused, collecting or not, and owned or not', () => {
    const directory = store.start({ collectUntilMs: 50 });
    directory.pauseKey(pool, key('a'), 0);
    assert.deepEqual(directory.claim(pool, key('a'), 0), { owned: false, reason: 'paused' });
    directory.resumeSession(facts('h1'), [held('a', 3)], 0);
    assert.deepEqual(directory.claim(pool, key('a'), 0), { owned: false, reason: 'paused' });
    assert.equal(directory.pauseKey(pool, key('a'), 0)?.processId, 'h1');
  });

  it('give fences above all that a host has told of, also of keys that it is refused', () => {
    const directory = store.start({ collectUntilMs: 50 });
    const { sessionId } = directory.resumeSession(facts('h1'), [held('a', 500)], 0);
    assert(claim(directory, 'a').fence === 500n);
    assert.deepEqual(directory.adopt('none' as SessionId, [held('b', 800)], 0), [key('b')]);
    const raised = directory.raiseFence({ pool, key: key('a'), sessionId }, fence(1), 0);
    assert.equal(raised?.fence, 801n);
  });

  it('raise a fence above the one that the key has, whatever the counter says', () => {
    const directory = store.start({ collectUntilMs: 50 });
    const { sessionId } = directory.resumeSession(facts('h1'), [held('a', 500)], 0);
    store.counter = 3n; // as of a store that was told of this fence, and lost its counter again
    assert.equal(directory.raiseFence({ pool, key: key('a'), sessionId }, fence(1), 0)?.fence, 501n);
  });

  it('change nothing when one of the keys that a host brings has a fence that cannot be', () => {
    const directory = store.start();
    directory.openSession(facts('h1'), 0);
    claim(directory, 'a');
    directory.takeOutput();
    assert.throws(
      () => directory.resumeSession(facts('h1'), [held('a', 1), held('b', 2_000_000)], 0),
      RangeError,
    );
    assert.equal(directory.hasOutput, false);
    assert.equal(directory.sessions(pool, 0).length, 1);
  });

  it('keep an alarm that is stored when the host that comes back knows of none, and believe it otherwise', () => {
    const before = store.start();
    const { sessionId } = before.openSession(facts('h1'), 0);
    for (const name of ['a', 'b']) {
      before.setAlarm({ pool, key: key(name), sessionId, fence: claim(before, name).fence }, 11, 0);
    }
    store.storage.write(before.takeOutput().changes.filter(({ type }) => type === 'put-claim'));
    const stale = store.start({ collectUntilMs: 50 });
    const mine = [held('a', 1), held('b', 2, { alarmAtMs: 22 })];
    assert.deepEqual(stale.resumeSession(facts('h1'), mine, 0).refused, []);
    store.storage.write(stale.takeOutput().changes);
    assert.deepEqual(store.storage.dueAlarms(pool, 10, 100).alarms, [
      { key: key('a'), atMs: 11 },
      { key: key('b'), atMs: 22 },
    ]);
  });

  it('write each record once, as it stands at the end, and nothing of a session that has ended', () => {
    const directory = store.start();
    const { sessionId } = directory.openSession(facts('h1'), 0);
    const owned = claim(directory, 'a');
    directory.confirmOpened(owned, 0);
    directory.setAlarm(owned, 5, 0);
    directory.closeSession(sessionId, 0);
    const { changes } = directory.takeOutput();
    assert.deepEqual(
      changes.map(change => change.type),
      ['delete-session', 'put-claim'],
    );
    assert.equal(directory.hasOutput, false);
  });

  it('forget nothing that they do not keep in memory', () => {
    const directory = store.start({ recordsMax: 4 });
    directory.openSession(facts('h1', { ttlMs: 1_000 }), 0);
    const claims = Array.from({ length: 50 }, (_, index) => claim(directory, `k${index}`));
    store.storage.write(directory.takeOutput().changes);
    for (const one of claims) {
      assert.deepEqual(directory.lookup(pool, one.key, 0), one);
      store.storage.write(directory.takeOutput().changes);
    }
    // What was asked for lately is there without asking storage.
    const loads = store.loads;
    assert.deepEqual(claim(directory, 'k49'), claims[49]);
    assert.equal(store.loads, loads);
    assert(loads > 40);
  });
});
