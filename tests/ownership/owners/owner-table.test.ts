import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Claim, Fence, InstanceId, NodeName, ProcessId, ResourceKey, Session, SessionId } from '#core';
import { createOwnerTable, type OwnerTable } from '../../../ownership/owners/owner-entries.ts';
import {
  doubtMs,
  findClaim,
  findMoving,
  leastBusy,
  step,
  type OwnerEvent,
} from '../../../ownership/owners/owner-table.ts';

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

const listed = (nowMs: number, ...sessions: Session[]): OwnerEvent => ({ type: 'listed', sessions, nowMs });

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

  it('forgets one that was not used lately when it is full', () => {
    for (const used of ['a', 'b', 'c']) {
      const table = tableWith(claimed('a', 's', 1), claimed('b', 's', 1), claimed('c', 's', 1));
      findClaim(table, pool, key(used));
      step(table, claimed('d', 's', 1));
      const left = ['a', 'b', 'c', 'd'].filter(name => findClaim(table, pool, key(name)));
      assert.equal(left.length, 3);
      assert.ok(left.includes(used) && left.includes('d'), left.join());
    }
  });

  it('keeps every claim over a gap, and asks for the sessions', () => {
    const table = tableWith(opened('s'), claimed('a', 's', 1));
    assert.deepEqual(step(table, { type: 'reset' }), [
      { type: 'list-sessions', afterMs: 0 },
      { type: 'wake-all' },
    ]);
    assert.equal(findClaim(table, pool, key('a'))?.sessionId, 's');
    assert.equal(table.pools.get(pool)!.kind, 'owned');
  });

  it('takes over a listing, except where events told something newer', () => {
    const table = tableWith({ type: 'listing-began' }, opened('new'), opened('ended'), ended('ended'));
    step(table, listed(0, session('there'), session('ended'), session('new', { draining: true })));
    const { sessions } = table.pools.get(pool)!;
    assert.deepEqual([...sessions.keys()].sort(), ['new', 'there']);
    assert.equal(sessions.get('new' as SessionId)!.draining, false);
  });

  it('wakes who waits only for what a listing has told anew', () => {
    const table = tableWith();
    assert.deepEqual(step(table, listed(0, session('s'))), [{ type: 'wake', pool }]);
    assert.deepEqual(step(table, listed(1, session('s'))), []);
    assert.deepEqual(step(table, listed(2, session('s', { ready: false }))), [{ type: 'wake', pool }]);
  });

  it('doubts a session that a listing does not name, lists again, and ends it when it stays away', () => {
    const table = tableWith(opened('s'), claimed('a', 's', 1), { type: 'listing-began' });
    assert.deepEqual(step(table, listed(0)), [{ type: 'list-sessions', afterMs: doubtMs }]);
    step(table, listed(doubtMs - 1));
    assert.equal(findClaim(table, pool, key('a'))?.sessionId, 's');
    const effects = step(table, listed(doubtMs));
    assert.deepEqual(effects[0], { type: 'retire', sessionId: 's', graceful: false });
    assert.equal(findClaim(table, pool, key('a')), undefined);
  });

  it('believes in a doubted session again when it is listed', () => {
    const table = tableWith(opened('s'), claimed('a', 's', 1), { type: 'listing-began' });
    step(table, listed(0));
    step(table, listed(1, session('s')));
    step(table, listed(doubtMs, session('s')));
    step(table, listed(doubtMs + 1));
    assert.equal(findClaim(table, pool, key('a'))?.sessionId, 's');
  });

  it('lets claims follow a process that opens a session again in a store that has forgotten it', () => {
    const again = { processId: 'process-s' as ProcessId, address: 'http://127.0.0.1:2' };
    const afterwards = tableWith(opened('s'), claimed('a', 's', 1), { type: 'listing-began' }, listed(0));
    const effects = step(afterwards, { type: 'session-opened', session: session('t', again) });
    assert.deepEqual(effects[0], { type: 'retire', sessionId: 's', graceful: true });
    const before = tableWith(
      opened('s'),
      claimed('a', 's', 1),
      { type: 'listing-began' },
      opened('t', again),
    );
    step(before, listed(0));
    for (const table of [afterwards, before]) {
      const found = findClaim(table, pool, key('a'));
      assert.deepEqual([found?.sessionId, found?.address], ['t', 'http://127.0.0.1:2']);
      step(table, ended('t'));
      assert.equal(findClaim(table, pool, key('a')), undefined, 'and ends with it');
    }
  });

  it('lets no claim follow a session that is known to have ended', () => {
    const table = tableWith(opened('s'), claimed('a', 's', 1), ended('s'));
    step(table, { type: 'session-opened', session: session('t', { processId: 'process-s' as ProcessId }) });
    assert.equal(findClaim(table, pool, key('a')), undefined);
  });

  it('takes the new owner of a moved key that it knows, and wakes who waits for it', () => {
    const moved = (name: string, fence: number): OwnerEvent => ({
      type: 'moved',
      claim: claim(name, 't', fence),
      from: 's' as SessionId,
    });
    const table = tableWith(opened('s'), opened('t'), claimed('a', 's', 1));
    assert.deepEqual(step(table, moved('a', 2)), [{ type: 'wake', pool, key: key('a') }]);
    assert.equal(findClaim(table, pool, key('a'))?.sessionId, 't');
    assert.deepEqual(step(table, moved('b', 3)), [{ type: 'wake', pool, key: key('b') }]);
    assert.equal(findClaim(table, pool, key('b')), undefined, 'nobody asked for it here');
  });

  it('sends nobody to an owner that is giving the key away, until something newer is known', () => {
    const table = tableWith(opened('s'), opened('t'), claimed('a', 's', 1));
    step(table, { type: 'moving', claim: claim('a', 's', 1) });
    step(table, claimed('a', 's', 1)); // an answer from before the move
    assert.equal(findClaim(table, pool, key('a')), undefined);
    step(table, { type: 'refused', claim: claim('a', 's', 1) }); // of a request that was on its way
    assert.equal(findMoving(table, pool, key('a'))?.sessionId, 's');
    step(table, { type: 'moved', claim: claim('a', 't', 2), from: 's' as SessionId });
    assert.equal(findClaim(table, pool, key('a'))?.sessionId, 't');
    assert.equal(findMoving(table, pool, key('a')), undefined);
    step(table, { type: 'moving', claim: claim('a', 's', 1) });
    assert.ok(findClaim(table, pool, key('a')), 'a late refusal of the old owner changes nothing');
  });

  it('forgets an owner that was to give a key away and of which nothing was told', () => {
    const table = tableWith(opened('s'), claimed('a', 's', 1), { type: 'moving', claim: claim('a', 's', 1) });
    step(table, { type: 'unmoved', claim: claim('a', 's', 1) });
    assert.equal(findMoving(table, pool, key('a')), undefined);
    assert.equal(table.entryCount, 0);
  });

  it('wakes who waits for a key that an operator resumed', () => {
    assert.deepEqual(step(tableWith(), { type: 'resumed', pool, key: key('a') }), [
      { type: 'wake', pool, key: key('a') },
    ]);
  });

  it('takes from the pool with the most keys when there are too many over all pools', () => {
    const other = (name: string) => ({ ...claim(name, 'o', 1), pool: 'q' as InstanceId });
    const table = tableWith(claimed('a', 's', 1), claimed('b', 's', 1));
    step(table, { type: 'claimed', claim: other('c') });
    step(table, { type: 'claimed', claim: other('d') });
    assert.equal(table.entryCount, 3);
    assert.ok(findClaim(table, 'q' as InstanceId, key('c')));
    assert.ok(findClaim(table, 'q' as InstanceId, key('d')));
  });

  it('counts what it holds, names no ended session, and never holds too many', () => {
    const id = fc.constantFrom('r', 's', 't');
    const name = fc.constantFrom('a', 'b', 'c', 'd', 'e');
    const fence = fc.integer({ min: 1, max: 5 });
    const right = fc.tuple(name, id, fence);
    const event: fc.Arbitrary<OwnerEvent> = fc.oneof(
      id.map(value => opened(value)),
      id.map(value => opened(value, { processId: 'process-r' as ProcessId })),
      id.map(value => ended(value)),
      right.map(parts => claimed(...parts)),
      right.map((parts): OwnerEvent => ({ type: 'refused', claim: claim(...parts) })),
      right.map((parts): OwnerEvent => ({ type: 'moving', claim: claim(...parts) })),
      right.map((parts): OwnerEvent => ({ type: 'moved', claim: claim(...parts), from: 'r' as SessionId })),
      fc
        .tuple(name, fence)
        .map(([n, f]): OwnerEvent => ({ type: 'released', pool, key: key(n), fence: BigInt(f) as Fence })),
      fc.constant<OwnerEvent>({ type: 'reset' }),
      fc.constant<OwnerEvent>({ type: 'listing-began' }),
      fc
        .tuple(fc.subarray(['r', 's', 't']), fc.integer({ min: 0, max: 2 * doubtMs }))
        .map(([ids, atMs]) => listed(atMs, ...ids.map(value => session(value)))),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), events => {
        const table = createOwnerTable(3);
        for (const next of events) {
          const known = table.pools.get(pool)?.entries.get(key('a'));
          const fenceBefore = known?.owner.ended === false ? known.fence : 0n;
          step(table, next);
          assert.ok(table.entryCount <= 3);
          const entries = table.pools.get(pool)?.entries;
          if (!entries) continue;
          assert.equal(table.entryCount, entries.size);
          for (const one of entries.keys()) {
            const found = findClaim(table, pool, one);
            if (found) assert.ok(!table.ended.has(found.sessionId));
          }
          const after = entries.get(key('a'));
          if (after) assert.ok(after.fence >= fenceBefore, 'an older right never replaces a newer one');
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
