import assert from 'node:assert/strict';
import { createDice } from './dice.ts';
import {
  check,
  createHistory,
  type FaultSpan,
  type History,
  type Read,
  type Row,
  type Sight,
  type Write,
} from './history.ts';

const key = '/db/a';
const router = 'http://r1';
const span = (startMs: number, endMs = startMs + 1) => ({ key, router, startMs, endMs });
const rows = (...values: string[]): Row[] => values.map((value, index) => ({ id: index + 1, value }));

function history(parts: Partial<History>): History {
  return { ...createHistory(), ...parts };
}
function write(value: string, id: number | null, startMs: number, outcome?: Write['outcome']): Write {
  return { ...span(startMs), value, id, outcome: outcome ?? (id === null ? 'unknown' : 'acknowledged') };
}
function read(startMs: number, newestFirst: Row[]): Read {
  return { ...span(startMs), rows: newestFirst };
}
function sight(fence: bigint, owner: string, startMs: number, more: Partial<Sight> = {}): Sight {
  return { ...span(startMs), fence, owner, served: null, ...more };
}
function registerProblems(parts: Partial<History>, stored: Row[]): string[] {
  return check(history(parts), new Map([[key, stored]]));
}

describe('the checker of histories', () => {
  it('finds nothing in a good history', () => {
    const writes = [write('v1', 1, 0), write('v2', 2, 10), write('v3', null, 20), write('v4', null, 30)];
    const reads = [read(15, [...rows('v1', 'v2')].reverse())];
    const sights = [sight(1n, 'a', 0, { served: 1 }), sight(2n, 'b', 10), sight(2n, 'b', 20)];
    assert.deepEqual(registerProblems({ writes, reads, sights }, rows('v1', 'v2', 'v4')), []);
  });

  const bad: [string, RegExp, () => string[]][] = [
    ['a lost write', /is lost/, () => registerProblems({ writes: [write('v1', 1, 0)] }, [])],
    [
      'a write applied twice',
      /applied twice/,
      () => registerProblems({ writes: [write('v1', 1, 0)] }, rows('v1', 'v1')),
    ],
    [
      'a refused write that was applied',
      /refused .* was applied/,
      () => registerProblems({ writes: [write('v1', null, 0, 'refused')] }, rows('v1')),
    ],
    ['a value from nowhere', /never sent/, () => registerProblems({}, rows('v1'))],
    [
      'a write acknowledged under another id',
      /acknowledged as 2/,
      () => registerProblems({ writes: [write('v1', 2, 0)] }, rows('v1')),
    ],
    [
      'a read that misses what was acknowledged before',
      /at 0 after it had been at 1/,
      () => registerProblems({ writes: [write('v1', 1, 0)], reads: [read(5, [])] }, rows('v1')),
    ],
    [
      'a read of what was rolled back',
      /saw v2 as row 1/,
      () =>
        registerProblems(
          { writes: [write('v1', 1, 9), write('v2', null, 0)], reads: [read(5, rows('v2'))] },
          rows('v1'),
        ),
    ],
    [
      'a gap',
      /a gap above row 1/,
      () =>
        registerProblems(
          {
            writes: [write('v1', 1, 0), write('v2', 2, 0), write('v3', 3, 0)],
            reads: [read(5, [{ id: 3, value: 'v3' }, ...rows('v1')])],
          },
          rows('v1', 'v2', 'v3'),
        ),
    ],
    [
      'a fence that goes back',
      /under fence 1 after fence 2/,
      () => check(history({ sights: [sight(2n, 'b', 0), sight(1n, 'a', 5)] }), new Map()),
    ],
    [
      'two owners under one fence',
      /answered by a and by b/,
      () => check(history({ sights: [sight(1n, 'a', 0), sight(1n, 'b', 0)] }), new Map()),
    ],
    [
      'two openings under one fence',
      /served its request 3 twice/,
      () =>
        check(
          history({ sights: [sight(1n, 'a', 0, { served: 3 }), sight(1n, 'a', 5, { served: 3 })] }),
          new Map(),
        ),
    ],
  ];
  for (const [name, expected, find] of bad) {
    it(`finds ${name}`, () => {
      const problems = find();
      assert(
        problems.some(problem => expected.test(problem)),
        problems.join('\n'),
      );
    });
  }

  it('gives requests that overlap no order', () => {
    const sights = [sight(2n, 'b', 0, { endMs: 10 }), sight(1n, 'a', 10, { endMs: 12 })];
    assert.deepEqual(check(history({ sights }), new Map()), []);
  });

  it('excuses a failure by a fault only where that fault may cause it', () => {
    const fault = (mayFail: FaultSpan['mayFail'], routers: string[] = []): FaultSpan => ({
      name: 'fault',
      startMs: 0,
      endMs: 10,
      mayFail,
      routers,
    });
    const unknown = { status: 502, code: 'HF_OUTCOME_UNKNOWN', message: '' };
    const refused = { status: null, code: null, message: 'ECONNREFUSED' };
    const excused = (
      method: 'GET' | 'POST',
      failed: typeof unknown | typeof refused,
      faults: FaultSpan[],
      startMs = 5,
    ) =>
      check(history({ failures: [{ ...span(startMs), method, ...failed }], faults }), new Map()).length === 0;

    assert(excused('POST', unknown, [fault('unsafe')]));
    assert(!excused('GET', unknown, [fault('unsafe')]));
    assert(!excused('POST', unknown, [fault('nothing')]));
    assert(!excused('POST', unknown, [fault('unsafe')], 20));
    assert(excused('GET', refused, [fault('unsafe', [router])]));
    assert(!excused('GET', refused, [fault('unsafe', ['http://r2'])]));
    assert(excused('GET', refused, [fault('all')]));
    assert(!excused('GET', refused, []));
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
