import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Claim, Fence, InstanceId, NodeName, ProcessId, ResourceKey, Session, SessionId } from '#core';
import {
  createOwnerTable,
  findClaim,
  leastBusy,
  step,
  type OwnerEvent,
  type OwnerTable,
} from '../../router/owner-table.ts';

const pool = 'p' as InstanceId;
const key = (name: string) => `/${name}` as ResourceKey;

function session(id: string, change: Partial<Session> = {}): Session {
  return {
    sessionId: id as SessionId,
    pool,
    processId: `process-${id}` as ProcessId,
    nodeName: 'n' as NodeName,
    address: 'http://127.0.0.1:1',
    ownsResources: true,
    capacity: 1,
    draining: false,
    ready: true,
    keys: 0,
    ...change,
  };
}

function claim(name: string, sessionId: string, fence: number): Claim {
  return {
    pool,
    key: key(name),
    fence: BigInt(fence) as Fence,
    sessionId: sessionId as SessionId,
    processId: `process-${sessionId}` as ProcessId,
    nodeName: 'n' as NodeName,
    address: 'http://127.0.0.1:1',
    hadOwner: false,
  };
}

function tableWith(...events: OwnerEvent[]): OwnerTable {
  const table = createOwnerTable(3);
  for (const event of events) step(table, event);
  return table;
}
const opened = (id: string, change?: Partial<Session>): OwnerEvent => ({
  type: 'session-opened',
  session: session(id, change),
});
const ended = (id: string, reason: 'closed' | 'died' | 'expired' = 'died'): OwnerEvent => ({
  type: 'session-ended',
  sessionId: id as SessionId,
  pool,
  reason,
});
const claimed = (name: string, sessionId: string, fence: number): OwnerEvent => ({
  type: 'claimed',
  claim: claim(name, sessionId, fence),
});

describe('owner table', () => {
  it('drops all claims of a session at once when it ends, and wakes its pool', () => {
    const table = tableWith(
      opened('s'),
      opened('t'),
      claimed('a', 's', 1),
      claimed('b', 's', 1),
      claimed('c', 't', 1),
    );
    assert.deepEqual(step(table, ended('s')), [
      { type: 'retire', sessionId: 's', graceful: false },
      { type: 'wake', pool },
    ]);
    assert.equal(findClaim(table, pool, key('a')), undefined);
    assert.equal(findClaim(table, pool, key('b')), undefined);
    assert.equal(findClaim(table, pool, key('c'))?.sessionId, 't');
  });

  it('lets a session that closed itself finish its requests', () => {
    assert.deepEqual(step(tableWith(opened('s')), ended('s', 'closed'))[0], {
      type: 'retire',
      sessionId: 's',
      graceful: true,
    });
  });

  it('does not bring an ended session back by a late answer', () => {
    const table = tableWith(opened('s'), ended('s'), claimed('a', 's', 1), opened('s'));
    assert.equal(findClaim(table, pool, key('a')), undefined);
    assert.equal(table.pools.get(pool)!.sessions.size, 0);
  });

  it('keeps the claim with the higher fence when answers overtake each other', () => {
    const table = tableWith(claimed('a', 't', 2), claimed('a', 's', 1));
    assert.equal(findClaim(table, pool, key('a'))?.sessionId, 't');
  });

  it('drops a released claim, but not a newer one', () => {
    const released = (fence: number): OwnerEvent => ({
      type: 'released',
      pool,
      key: key('a'),
      fence: BigInt(fence) as Fence,
    });
    const table = tableWith(claimed('a', 's', 2));
    assert.deepEqual(step(table, released(1)), [{ type: 'wake', pool, key: key('a') }]);
    assert.ok(findClaim(table, pool, key('a')));
    step(table, released(2));
    assert.equal(findClaim(table, pool, key('a')), undefined);
  });

  it('drops a refused claim only if it is the very one', () => {
    const table = tableWith(claimed('a', 's', 2));
    step(table, { type: 'refused', claim: claim('a', 's', 1) });
    assert.ok(findClaim(table, pool, key('a')));
    step(table, { type: 'refused', claim: claim('a', 's', 2) });
    assert.equal(findClaim(table, pool, key('a')), undefined);
  });

  it('forgets the least recently used claim when it is full', () => {
    const table = tableWith(claimed('a', 's', 1), claimed('b', 's', 1), claimed('c', 's', 1));
    findClaim(table, pool, key('a'));
    step(table, claimed('d', 's', 1));
    assert.equal(findClaim(table, pool, key('b')), undefined);
    for (const name of ['a', 'c', 'd']) assert.ok(findClaim(table, pool, key(name)), name);
  });

  it('forgets all claims on reset, and asks for the sessions', () => {
    const table = tableWith(opened('s'), claimed('a', 's', 1));
    assert.deepEqual(step(table, { type: 'reset' }), [{ type: 'list-sessions' }, { type: 'wake-all' }]);
    assert.equal(findClaim(table, pool, key('a')), undefined);
    assert.equal(table.pools.get(pool)!.kind, 'owned');
  });

  it('takes over a listing, except where events told something newer', () => {
    const table = tableWith(
      opened('gone'),
      claimed('a', 'gone', 1),
      { type: 'listing-began' },
      opened('new'),
      opened('ended'),
      ended('ended'),
    );
    const effects = step(table, {
      type: 'listed',
      sessions: [session('there'), session('ended'), session('new', { draining: true })],
    });
    const { sessions } = table.pools.get(pool)!;
    assert.deepEqual([...sessions.keys()].sort(), ['new', 'there']);
    assert.equal(sessions.get('new' as SessionId)!.draining, false);
    assert.equal(findClaim(table, pool, key('a')), undefined);
    assert.ok(effects.some(effect => effect.type === 'retire' && effect.sessionId === 'gone'));
  });

  it('holds as many claims as keys of sessions, never one of an ended session, never too many', () => {
    const id = fc.constantFrom('r', 's', 't');
    const name = fc.constantFrom('a', 'b', 'c', 'd', 'e');
    const fence = fc.integer({ min: 1, max: 5 });
    const event: fc.Arbitrary<OwnerEvent> = fc.oneof(
      id.map(value => opened(value)),
      id.map(value => ended(value)),
      fc.tuple(name, id, fence).map(parts => claimed(...parts)),
      fc.tuple(name, id, fence).map(([n, s, f]): OwnerEvent => ({ type: 'refused', claim: claim(n, s, f) })),
      fc
        .tuple(name, fence)
        .map(([n, f]): OwnerEvent => ({ type: 'released', pool, key: key(n), fence: BigInt(f) as Fence })),
      fc.constant<OwnerEvent>({ type: 'reset' }),
      fc.constant<OwnerEvent>({ type: 'listing-began' }),
      fc
        .subarray(['r', 's', 't'])
        .map((ids): OwnerEvent => ({ type: 'listed', sessions: ids.map(value => session(value)) })),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), events => {
        const table = createOwnerTable(3);
        for (const next of events) {
          step(table, next);
          const known = table.pools.get(pool);
          if (!known) continue;
          assert.ok(known.claims.size <= 3);
          const indexed = [...known.keysOf].flatMap(([sessionId, keys]) =>
            [...keys].map(one => `${sessionId} ${one}`),
          );
          const cached = [...known.claims.values()].map(one => `${one.sessionId} ${one.key}`);
          assert.deepEqual(indexed.sort(), cached.sort());
          for (const one of known.claims.values()) assert.ok(!table.ended.has(one.sessionId));
        }
      }),
    );
  });
});

describe('leastBusy', () => {
  const load: Record<string, number> = { a: 1, b: 0, c: 0 };
  const choose = (sessions: Session[], turn: number, avoid?: string) =>
    leastBusy(sessions, id => load[id]!, turn, avoid as SessionId | undefined)?.sessionId ?? null;

  it('takes the fewest requests in flight, equals in turn', () => {
    const sessions = [session('a'), session('b'), session('c')];
    assert.deepEqual(
      [0, 1, 2].map(turn => choose(sessions, turn)),
      ['b', 'c', 'b'],
    );
  });

  it('passes over draining and unready ones, and takes one to avoid only if there is no other', () => {
    assert.equal(choose([session('b', { draining: true }), session('c', { ready: false })], 0), null);
    assert.equal(choose([session('a'), session('b')], 0, 'b'), 'a');
    assert.equal(choose([session('b')], 0, 'b'), 'b');
  });
});
