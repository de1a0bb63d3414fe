/** A checker that cannot fail proves nothing: one bad history for each anomaly, and good ones that look like them. */
import assert from 'node:assert/strict';
import { longestUnavailability } from './check-availability.ts';
import { check } from './check.ts';
import { createDice } from './dice.ts';
import {
  createHistory,
  type Answer,
  type Content,
  type Entry,
  type FaultSpan,
  type Invariant,
  type Opening,
  type Operation,
} from './history.ts';

const key = '/reg/a';
const router = 'http://r1';

function operation(kind: Operation['kind'], startMs: number, more: Partial<Operation>): Operation {
  return {
    client: 0,
    key,
    router,
    kind,
    startMs,
    endMs: startMs + 1,
    outcome: 'ok',
    element: null,
    position: null,
    seen: null,
    answer: null,
    failure: null,
    ...more,
  };
}
const append = (element: string, startMs: number, more: Partial<Operation> = {}) =>
  operation('append', startMs, { element, ...more });
const read = (elements: string[], startMs: number, more: Partial<Operation> = {}) =>
  operation('read', startMs, { seen: { length: elements.length, tail: elements }, ...more });
const look = (fence: bigint, owner: string, startMs: number, more: Partial<Answer> = {}) =>
  operation('look', startMs, { answer: { fence, owner, atMs: null, served: null, ...more } });
const unknown = { outcome: 'unknown' } as const;
const failed = { outcome: 'failed' } as const;

const entries = (...elements: string[]): Entry[] =>
  elements.map(element => ({ element, fence: null, owner: null }));
const entry = (element: string, fence: bigint, owner: string): Entry => ({ element, fence, owner });
const opening = (fence: bigint, owner: string, atMs: number): Opening => ({ fence, owner, atMs });

function problems(
  operations: Operation[],
  content: Partial<Content> = {},
  faults: FaultSpan[] = [],
): { invariant: Invariant; message: string }[] {
  const held: Content = { entries: [], openings: null, ...content };
  return check({ operations, faults }, new Map([[key, held]]), {
    servedWithinMs: 1_000,
    judgeFailures: true,
  });
}

describe('the checker of histories', () => {
  const good: [string, () => ReturnType<typeof problems>][] = [
    ['nothing at all', () => problems([])],
    [
      'appends and reads of two owners',
      () =>
        problems(
          [
            append('a', 0, { position: 1, answer: { fence: 1n, owner: 'x', atMs: 0.5, served: 1 } }),
            read(['a'], 5, { answer: { fence: 1n, owner: 'x', atMs: 5.5, served: 2 } }),
            append('b', 20, { position: 2, answer: { fence: 4n, owner: 'y', atMs: 20.5, served: 1 } }),
            read(['a', 'b'], 25, { answer: { fence: 4n, owner: 'y', atMs: 25.5, served: 2 } }),
          ],
          {
            entries: [entry('a', 1n, 'x'), entry('b', 4n, 'y')],
            openings: [opening(1n, 'x', 0.2), opening(4n, 'y', 19)],
          },
        ),
    ],
    [
      'a read beside an append, before or after it',
      () =>
        problems([append('a', 0, { endMs: 10 }), read(['a'], 5, { endMs: 6 }), read([], 3, { endMs: 4 })], {
          entries: entries('a'),
        }),
    ],
    [
      'unknown appends that came late, or never',
      () =>
        problems([append('a', 0, unknown), append('b', 1, unknown), read([], 10), read(['b'], 20)], {
          entries: entries('b'),
        }),
    ],
    ['a failed append that is not there', () => problems([append('a', 0, failed)])],
    [
      'a register that shows its newest elements only',
      () =>
        problems(
          [
            append('a', 0),
            append('b', 5),
            append('c', 10),
            operation('read', 15, { seen: { length: 3, tail: ['b', 'c'] } }),
          ],
          { entries: entries('a', 'b', 'c') },
        ),
    ],
    [
      'an owner that takes a higher fence itself',
      () => problems([look(2n, 'x', 5)], { openings: [opening(1n, 'x', 0), opening(2n, 'x', 1)] }),
    ],
  ];
  for (const [name, found] of good) it(`finds nothing in ${name}`, () => assert.deepEqual(found(), []));

  const bad: [string, Invariant, RegExp, () => ReturnType<typeof problems>][] = [
    [
      'a lost append',
      'I2 acknowledged appends stay',
      /^a, acknowledged .* is lost/,
      () => problems([append('a', 0)]),
    ],
    [
      'a duplicate',
      'I2 acknowledged appends stay',
      /a was applied twice, as 1 and as 3/,
      () => problems([append('a', 0), append('b', 0)], { entries: entries('a', 'b', 'a') }),
    ],
    [
      'a failed append that rose again',
      'I2 acknowledged appends stay',
      /a, reported .* as not executed, was applied/,
      () => problems([append('a', 0, failed)], { entries: entries('a') }),
    ],
    [
      'a failed append that was seen, and is gone again',
      'I4 linearizable',
      /saw a at 1, where nothing is/,
      () => problems([append('a', 0, failed), read(['a'], 5)]),
    ],
    [
      'an element from nowhere',
      'I2 acknowledged appends stay',
      /a was never sent/,
      () => problems([], { entries: entries('a') }),
    ],
    [
      'an append acknowledged at another place',
      'I2 acknowledged appends stay',
      /a is at 1, acknowledged as 2/,
      () => problems([append('a', 0, { position: 2 })], { entries: entries('a') }),
    ],
    [
      'a stale read',
      'I4 linearizable',
      /the read at 5.*length 0\) has not seen the append of a/,
      () => problems([append('a', 0), read([], 5)], { entries: entries('a') }),
    ],
    [
      'a read that went back behind another read',
      'I4 linearizable',
      /has not seen the read/,
      () => problems([append('a', 0, unknown), read(['a'], 5), read([], 10)], { entries: entries('a') }),
    ],
    [
      'a read from the future',
      'I4 linearizable',
      /the append of b at 10.* has not seen the read at 5/,
      () => problems([append('a', 0), read(['a', 'b'], 5), append('b', 10)], { entries: entries('a', 'b') }),
    ],
    [
      'an unknown append that took effect before it was sent',
      'I4 linearizable',
      /the append of a at 10.* has not seen the append of b/,
      () => problems([append('b', 0), append('a', 10, unknown)], { entries: entries('a', 'b') }),
    ],
    [
      'appends in another order than they were acknowledged',
      'I4 linearizable',
      /the append of b .* has not seen the append of a/,
      () => problems([append('a', 0), append('b', 5)], { entries: entries('b', 'a') }),
    ],
    [
      'a read of two histories',
      'I4 linearizable',
      /saw c at 2, where b is in the end/,
      () =>
        problems([append('a', 0), append('b', 5), append('c', 5, unknown), read(['a', 'c'], 10)], {
          entries: entries('a', 'b'),
        }),
    ],
    [
      'a fence of a commit that goes back',
      'I1 commits in fence order',
      /b \(position 2\) was committed under 1 after 2/,
      () =>
        problems([append('a', 0), append('b', 0, { endMs: 9 })], {
          entries: [entry('a', 2n, 'y'), entry('b', 1n, 'x')],
        }),
    ],
    [
      'two owners interleaved under one fence',
      'I1 commits in fence order',
      /fence 1 was used by x and by y/,
      () =>
        problems([append('a', 0), append('b', 5)], { entries: [entry('a', 1n, 'x'), entry('b', 1n, 'y')] }),
    ],
    [
      'two owners who answer under one fence',
      'I1 commits in fence order',
      /fence 1 was used by x and by y/,
      () => problems([look(1n, 'x', 0), look(1n, 'y', 5)]),
    ],
    [
      'an append acknowledged under another fence than it was committed under',
      'I1 commits in fence order',
      /there under 1, acknowledged under 2/,
      () =>
        problems(
          [append('a', 0, { position: 1, answer: { fence: 2n, owner: 'y', atMs: null, served: null } })],
          { entries: [entry('a', 1n, 'x')] },
        ),
    ],
    [
      'an opening under a fence that is not higher',
      'I5 fences increase',
      /y opened it under 1 after 1/,
      () => problems([], { openings: [opening(1n, 'x', 0), opening(1n, 'y', 5)] }),
    ],
    [
      'an answer under a fence that nobody installed',
      'I5 fences increase',
      /under 3, which nobody installed/,
      () => problems([look(3n, 'x', 0)], { openings: [opening(1n, 'x', 0)] }),
    ],
    [
      'an older fence that answers after a newer one',
      'I5 fences increase',
      /x answered .* under 1 after 2/,
      () => problems([look(2n, 'y', 0), look(1n, 'x', 5)]),
    ],
    [
      'an owner that still believed in its right when the next had begun, though no client could see it',
      'I3 one answerer',
      /x answered under 1 at 3.0 ms, y had it under 2 since 2.0 ms/,
      () =>
        problems([
          { ...look(1n, 'x', 0, { atMs: 3 }), endMs: 9 },
          { ...look(2n, 'y', 0, { atMs: 2 }), endMs: 9 },
        ]),
    ],
    [
      'an owner that answered after the next had opened',
      'I3 one answerer',
      /x answered under 1 at 3.0 ms, y had it under 2 since 2.0 ms/,
      () =>
        problems([look(1n, 'x', 0, { atMs: 3 })], { openings: [opening(1n, 'x', 0), opening(2n, 'y', 2)] }),
    ],
    [
      'two openings under one fence that count their requests apart',
      'I3 one answerer',
      /served its request 1 twice/,
      () => problems([look(1n, 'x', 0, { served: 1 }), look(1n, 'x', 5, { served: 1 })]),
    ],
  ];
  for (const [name, invariant, message, found] of bad) {
    it(`finds ${name}`, () => {
      const violations = found();
      assert(
        violations.some(one => one.invariant === invariant && message.test(one.message)),
        JSON.stringify(violations),
      );
    });
  }

  const fault = (mayFail: FaultSpan['mayFail'], routers: string[] = []): FaultSpan => ({
    name: 'a fault',
    startMs: 0,
    overMs: 5,
    endMs: 10,
    mayFail,
    routers,
  });

  it('excuses failures only by faults that were there and may have them', () => {
    const refused = { status: null, code: null, message: 'ECONNREFUSED' };
    const lost = { status: 502, code: 'HF_OUTCOME_UNKNOWN', message: 'broke off' };
    const excused = (
      kind: 'append' | 'read',
      failure: Operation['failure'],
      faults: FaultSpan[],
      startMs = 5,
    ) => {
      const element = kind === 'append' ? 'a' : null;
      const broken = operation(kind, startMs, { element, outcome: 'unknown', failure });
      return !problems([broken, read([], 6)], {}, faults).some(one => one.invariant === 'availability');
    };
    assert(excused('append', lost, [fault('unsafe')]));
    assert(!excused('read', lost, [fault('unsafe')]));
    assert(!excused('append', lost, [fault('nothing')]));
    assert(!excused('append', lost, [fault('unsafe')], 20));
    assert(excused('read', refused, [fault('unsafe', [router])]));
    assert(!excused('read', refused, [fault('unsafe', ['http://r2'])]));
    assert(excused('read', refused, [fault('all')]));
    assert(!excused('read', refused, []));
  });

  it('finds a key that is not served again in time, or never', () => {
    const late = (operations: Operation[]) =>
      problems(operations, {}, [fault('all')]).filter(one => one.invariant === 'I7 served again');
    assert.deepEqual(late([read([], 1_003)]), []);
    assert.match(late([read([], 2), read([], 1_005)])[0]!.message, /only 1001 ms later/);
    assert.match(late([read([], 2)])[0]!.message, /never/);
  });

  it('measures how long a key was away, from the first request that was not served', () => {
    const { faults, operations } = { ...createHistory(), faults: [fault('all')] };
    operations.push(
      append('a', 1, failed),
      read([], 2, { outcome: 'failed', seen: null }),
      read([], 40, { endMs: 51 }),
    );
    assert.deepEqual(longestUnavailability({ operations, faults }), new Map([['a fault', 50]]));
  });
});

describe('dice', () => {
  it('fall the same way for the same seed', () => {
    const throws = (seed: number) => {
      const dice = createDice(seed);
      return Array.from({ length: 20 }, () => dice.below(1_000));
    };
    assert.deepEqual(throws(7), throws(7));
    assert.notDeepEqual(throws(7), throws(8));
    assert(new Set(throws(7)).size > 10);
    assert.deepEqual(
      createDice(1)
        .shuffle([1, 2, 3])
        .sort((a, b) => a - b),
      [1, 2, 3],
    );
  });
});
