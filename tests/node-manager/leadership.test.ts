import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  addressWarnings,
  advertisedUri,
  nextAttemptMs,
  step,
  type LeadershipEvent,
  type LeadershipState,
} from '#node-manager';

const ttlMs = 3_000;
const states: LeadershipState[] = [
  { kind: 'following', holder: 'other' },
  { kind: 'leading', fence: 7n, deadlineMs: 2_700 },
];
const expected: Record<LeadershipEvent['type'], [string, string]> = {
  granted: ['leading', 'leading'],
  refused: ['following', 'following'],
  failed: ['following', 'leading'],
  deposed: ['following', 'following'],
  resigned: ['following', 'following'],
  clock: ['following', 'leading'],
};

describe('leadership', () => {
  it('goes where the diagram says, from every state on every event', () => {
    const events: LeadershipEvent[] = [
      { type: 'granted', fence: 8n, sentAtMs: 1_000 },
      { type: 'refused', holder: 'x' },
      { type: 'failed' },
      { type: 'deposed' },
      { type: 'resigned' },
      { type: 'clock' },
    ];
    for (const event of events) {
      states.forEach((state, index) => {
        assert.equal(step(state, event, 1_000, ttlMs).kind, expected[event.type][index], event.type);
      });
    }
  });

  it('ends before the lease can, counted from before the renewal was sent', () => {
    const leading = step(states[0]!, { type: 'granted', fence: 1n, sentAtMs: 1_000 }, 1_500, ttlMs);
    assert.deepEqual(leading, { kind: 'leading', fence: 1n, deadlineMs: 3_700 });
    assert.equal(step(leading, { type: 'failed' }, 3_699, ttlMs).kind, 'leading');
    assert.equal(step(leading, { type: 'failed' }, 3_700, ttlMs).kind, 'following');
    assert.equal(step(leading, { type: 'clock' }, 3_700, ttlMs).kind, 'following');
  });

  it('does not lead by a grant that came too late', () => {
    assert.equal(
      step(states[0]!, { type: 'granted', fence: 1n, sentAtMs: 0 }, 2_700, ttlMs).kind,
      'following',
    );
  });

  it('asks often enough: always again before the deadline, sooner after a failure', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 500, max: 300_000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (ttl, part) => {
          const deadlineMs = ttl * 0.9;
          const nowMs = deadlineMs * part;
          const state: LeadershipState = { kind: 'leading', fence: 1n, deadlineMs };
          const good = nextAttemptMs(state, nowMs, ttl, false);
          const bad = nextAttemptMs(state, nowMs, ttl, true);
          assert.ok(good >= 0 && nowMs + good <= deadlineMs);
          assert.ok(bad <= good);
          assert.ok(good <= ttl / 3);
        },
      ),
    );
  });
});

describe('the address of a manager', () => {
  const settings = {
    nodeServers: [
      { networkName: 'a', networkIp: '10.0.0.4' },
      { networkName: 'b', networkIp: 'fd00::4' },
    ],
  } as never;

  it('is what it listens on, or the address of its node when it listens on all', () => {
    assert.equal(advertisedUri('http://127.0.0.1:7777', 'a', settings), 'http://127.0.0.1:7777');
    assert.equal(advertisedUri('http://0.0.0.0:7777', 'a', settings), 'http://10.0.0.4:7777');
    assert.equal(advertisedUri('http://[::]:7777', 'b', settings), 'http://[fd00::4]:7777');
  });

  it('is warned of where other machines would not reach one of several managers', () => {
    const warn = (managers: number, listening: string, networkName = 'a') =>
      addressWarnings(listening, networkName, { ...(settings as object), managers } as never).length;
    assert.equal(warn(2, 'http://127.0.0.1:7777'), 1);
    assert.equal(warn(1, 'http://127.0.0.1:7777'), 0);
    assert.equal(warn(2, 'http://10.0.0.4:7777'), 0);
    assert.equal(warn(2, 'http://0.0.0.0:7777'), 0);
    assert.equal(warn(2, 'http://127.0.0.1:7777', 'c'), 0);
  });

  it('is not known before it listens, and while the settings do not say where its node is', () => {
    assert.equal(advertisedUri(null, 'a', settings), null);
    assert.equal(advertisedUri('http://0.0.0.0:7777', 'a', null), null);
    assert.equal(advertisedUri('http://0.0.0.0:7777', 'c', settings), null);
  });
});
