import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Claim, Fence, InstanceId, NodeName, ProcessId, SessionId } from '#core';
import { Directory } from '../../ownership/directory/directory.ts';
import type { StoredClaim } from '../../ownership/directory/records.ts';
import { key, pool } from './vocabulary.ts';

const keyName = fc.constantFrom('a', 'b', 'c', 'd');
const pick = fc.nat(20);
const operation = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('open' as const),
      process: fc.nat(5),
      ttlMs: fc.integer({ min: 5, max: 60 }),
    }),
  },
  { weight: 8, arbitrary: fc.record({ type: fc.constant('claim' as const), key: keyName }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('release' as const), pick, stale: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('confirm' as const), pick }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('raise' as const), pick, above: fc.nat(100) }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('renew' as const), pick }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('drain' as const), pick }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('close' as const), pick }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('die' as const), process: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('restart' as const) }) },
);
const history = fc.array(fc.record({ afterMs: fc.nat(12), operation }), { maxLength: 80, size: 'max' });

describe('directory', () => {
  it('keeps its promises through every history, restarts from storage included', () => {
    fc.assert(
      fc.property(history, steps => {
        let nowMs = 0;
        let counter = 0n;
        let ids = 0;
        const storedClaims = new Map<string, StoredClaim>();
        const make = (from?: Directory) =>
          new Directory(
            {
              nextFence: () => ++counter as Fence,
              fenceAbove: above => (counter = (above > counter ? above : counter) + 1n) as Fence,
              newSessionId: () => `s${++ids}` as SessionId,
              loadClaim: (_pool, name) => storedClaims.get(name) ?? null,
            },
            from?.sessions(pool, nowMs).map(session => ({ ...from.session(session.sessionId)! })),
          );
        let directory = make();
        const sessions: SessionId[] = [];
        const granted: Claim[] = [];
        const highest = new Map<string, { fence: bigint; sessionId: string }>();

        /** No key's fence goes back, and a fence belongs to one session. */
        const note = (claim: Claim) => {
          const last = highest.get(claim.key);
          if (last) {
            assert(claim.fence >= last.fence, 'a fence went back');
            if (claim.sessionId !== last.sessionId)
              assert(claim.fence > last.fence, 'a new owner, the old fence');
          }
          assert(directory.session(claim.sessionId), 'given to a session that is over');
          highest.set(claim.key, claim);
          granted.push(claim);
        };

        for (const { afterMs, operation: op } of steps) {
          nowMs += afterMs;
          const claim = 'pick' in op ? granted[op.pick % Math.max(1, granted.length)] : undefined;
          const session = 'pick' in op ? sessions[op.pick % Math.max(1, sessions.length)] : undefined;
          switch (op.type) {
            case 'open':
              try {
                const facts = { pool, nodeName: 'n' as NodeName, address: 'http://h', ownsResources: true };
                const processId = `p${op.process}` as ProcessId;
                sessions.push(
                  directory.openSession({ ...facts, processId, capacity: 1, ttlMs: op.ttlMs }, nowMs)
                    .sessionId,
                );
              } catch {
                // The process was reported dead.
              }
              break;
            case 'claim': {
              const before = directory.lookup(pool, key(op.key), nowMs);
              const outcome = directory.claim(pool, key(op.key), nowMs);
              if (before) assert.deepEqual(outcome, { owned: true, claim: before }, 'not sticky');
              if (outcome.owned) note(outcome.claim);
              break;
            }
            case 'release': {
              if (!claim) break;
              const held = op.stale ? { ...claim, fence: (claim.fence - 1n) as Fence } : claim;
              const now = directory.lookup(pool, claim.key, nowMs);
              const may = now?.sessionId === held.sessionId && now.fence === held.fence;
              assert.equal(directory.release(held, nowMs), may);
              if (may) assert.equal(directory.lookup(pool, claim.key, nowMs), null);
              break;
            }
            case 'confirm':
              if (claim && directory.confirmOpened(claim, nowMs)) {
                assert(directory.lookup(pool, claim.key, nowMs)?.hadOwner);
              }
              break;
            case 'raise': {
              const raised = claim && directory.raiseFence(claim, BigInt(op.above) as Fence, nowMs);
              if (raised) {
                assert(raised.fence > claim.fence && raised.fence > BigInt(op.above));
                note(raised);
              }
              break;
            }
            case 'renew': {
              const live = session && directory.session(session);
              if (session && directory.renewSession(session, nowMs).alive) {
                assert(live, 'a session came back');
                assert.equal(live.expiresAtMs, nowMs + live.ttlMs);
              }
              break;
            }
            case 'drain':
              if (session) directory.updateSession(session, { draining: true }, nowMs);
              break;
            case 'close':
              if (session) directory.closeSession(session, nowMs);
              break;
            case 'die':
              directory.endSessionsOf(`p${op.process}` as ProcessId, nowMs);
              assert(
                directory.sessions(pool, nowMs).every(one => one.processId !== `p${op.process}`),
                'a dead process has a session',
              );
              break;
            case 'restart':
              directory = make(directory);
              break;
          }
          for (const change of directory.takeOutput().changes) {
            if (change.type !== 'put-claim') continue;
            const { fence, opened, session: owner } = change.claim;
            storedClaims.set(change.claim.key, { fence, opened, sessionId: owner?.sessionId ?? null });
          }
          const counts = new Map<string, number>();
          for (const name of ['a', 'b', 'c', 'd']) {
            const owner = directory.lookup(pool, key(name), nowMs)?.sessionId;
            if (owner) counts.set(owner, (counts.get(owner) ?? 0) + 1);
          }
          for (const one of directory.sessions(undefined, nowMs)) {
            assert.equal(one.keys, counts.get(one.sessionId) ?? 0, 'a count is wrong');
            assert(directory.session(one.sessionId)!.expiresAtMs > nowMs, 'an expired session is shown');
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it('knows nothing of a pool that nobody serves', () => {
    const directory = new Directory({
      nextFence: () => 1n as Fence,
      fenceAbove: above => above,
      newSessionId: () => 's' as SessionId,
      loadClaim: () => null,
    });
    assert.deepEqual(directory.sessions('none' as InstanceId, 0), []);
    assert.equal(directory.expire(0), null);
    assert.equal(directory.hasOutput, false);
  });
});
