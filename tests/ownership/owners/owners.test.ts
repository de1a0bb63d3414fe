import assert from 'node:assert/strict';
import {
  createFakeSystem,
  type Claim,
  type ClaimOutcome,
  type DirectoryEvent,
  type Fence,
  type InstanceId,
  type NodeName,
  type ProcessId,
  type ResourceKey,
  type Session,
  type SessionId,
} from '#core';
import { createOwners } from '../../../ownership/owners/owners.ts';
import { doubtMs } from '../../../ownership/owners/owner-table.ts';

const pool = 'p' as InstanceId;
const key = (name: string) => `/${name}` as ResourceKey;

function claim(name: string, fence = 1n): Claim {
  return {
    pool,
    key: key(name),
    fence: fence as Fence,
    sessionId: `s${fence}` as SessionId,
    processId: 'process' as ProcessId,
    nodeName: 'n' as NodeName,
    address: 'http://127.0.0.1:1',
    hadOwner: false,
  };
}

describe('owners', () => {
  function setUp() {
    const system = createFakeSystem();
    const asked: (string | string[])[] = [];
    const awaited = new Set<ResourceKey>();
    let tell: (event: DirectoryEvent) => void = () => {};
    let listings = 0;
    let sessions: Session[] = [];
    const answer = (name: ResourceKey): ClaimOutcome => ({ owned: true, claim: claim(name.slice(1)) });
    const owners = createOwners({
      system,
      log: { debug() {}, info() {}, warn() {}, error() {} },
      directory: {
        async claim(_pool, one) {
          asked.push(one);
          return answer(one);
        },
        async claimMany(_pool, keys) {
          asked.push(keys);
          return keys.map(answer);
        },
        async sessions() {
          listings += 1;
          return sessions;
        },
        watch(listener) {
          tell = listener;
          return () => {};
        },
      },
      onEffect() {},
      isAwaited: (_pool, one) => awaited.has(one),
    });
    owners.start();
    return {
      system,
      owners,
      asked,
      awaited,
      tell: (event: DirectoryEvent) => tell(event),
      listings: () => listings,
      list: (next: Session[]) => (sessions = next),
    };
  }

  it('ask once for a key that many want, and once for the keys of one turn', async () => {
    const { owners, asked } = setUp();
    await Promise.all([
      owners.claim(pool, key('a')),
      owners.claim(pool, key('a')),
      owners.claim(pool, key('b')),
    ]);
    assert.deepEqual(asked, [[key('a'), key('b')]]);
    await owners.claim(pool, key('c'));
    assert.deepEqual(asked[1], key('c'));
    assert.equal(owners.find(pool, key('b'))?.sessionId, 's1');
  });

  it('remember the new owner of a moved key that somebody waits for, and of no other', () => {
    const { owners, awaited, tell } = setUp();
    awaited.add(key('a'));
    for (const name of ['a', 'b']) tell({ type: 'moved', claim: claim(name, 2n), from: 's1' as SessionId });
    assert.equal(owners.find(pool, key('a'))?.sessionId, 's2');
    assert.equal(owners.find(pool, key('b')), undefined);
  });

  it('list the sessions after a gap, and again while some are in doubt', async () => {
    const { system, owners, tell, listings, list } = setUp();
    await system.advance(0);
    const { sessionId, processId, nodeName, address } = claim('a');
    const facts = { ownsResources: true, capacity: 1, draining: false, ready: true, keys: 0 };
    const session: Session = { sessionId, pool, processId, nodeName, address, ...facts };
    tell({ type: 'session-opened', session });
    const before = listings();
    tell({ type: 'reset' });
    await system.advance(0);
    assert.equal(listings(), before + 1);
    await system.advance(doubtMs - 1);
    assert.equal(listings(), before + 1);
    list([session]);
    await system.advance(1);
    assert.equal(listings(), before + 2);
    await system.advance(10 * doubtMs);
    assert.equal(listings(), before + 2);
    assert.equal(owners.isEnded(sessionId), false);
  });
});
