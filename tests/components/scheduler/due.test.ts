import assert from 'node:assert/strict';
import fc from 'fast-check';
import { cronTimes } from '#core';
import { decide, upcoming, type MisfirePolicy } from '../../../components/scheduler/due.ts';

const berlin = (cron: string) => cronTimes(cron, 'Europe/Berlin');
const isoFrom = (cron: string, after: string, count: number) =>
  upcoming(berlin(cron), Date.parse(after), count).map(ms => new Date(ms).toISOString().replace('.000', ''));

describe('scheduler: what is due', () => {
  it('in Berlin in spring, when 2:00 becomes 3:00', () => {
    const eve = '2026-03-28T12:00:00Z';
    // 2:30 does not exist on the 29th: it comes at the first moment after the gap, and never a second time.
    assert.deepEqual(isoFrom('30 2 * * *', eve, 3), [
      '2026-03-29T01:00:00Z',
      '2026-03-30T00:30:00Z',
      '2026-03-31T00:30:00Z',
    ]);
    assert.deepEqual(isoFrom('0 12 * * *', '2026-03-28T00:00:00Z', 2), [
      '2026-03-28T11:00:00Z',
      '2026-03-29T10:00:00Z',
    ]);
    // By elapsed time: no hour is left out, none is doubled.
    assert.deepEqual(isoFrom('0 * * * *', '2026-03-28T23:30:00Z', 4), [
      '2026-03-29T00:00:00Z',
      '2026-03-29T01:00:00Z',
      '2026-03-29T02:00:00Z',
      '2026-03-29T03:00:00Z',
    ]);
  });

  it('in Berlin in autumn, when 3:00 becomes 2:00', () => {
    // 2:30 comes twice by the clock on the wall, and fires at the first of the two.
    assert.deepEqual(isoFrom('30 2 * * *', '2026-10-24T12:00:00Z', 2), [
      '2026-10-25T00:30:00Z',
      '2026-10-26T01:30:00Z',
    ]);
    assert.deepEqual(isoFrom('*/30 * * * *', '2026-10-24T23:45:00Z', 6), [
      '2026-10-25T00:00:00Z',
      '2026-10-25T00:30:00Z',
      '2026-10-25T01:00:00Z',
      '2026-10-25T01:30:00Z',
      '2026-10-25T02:00:00Z',
      '2026-10-25T02:30:00Z',
    ]);
  });

  const changes = ['2026-03-29T01:00:00Z', '2026-10-25T01:00:00Z'].map(Date.parse);
  const around = fc
    .tuple(fc.constantFrom(...changes), fc.integer({ min: -4 * 3600, max: 4 * 3600 }))
    .map(([at, seconds]) => at + 1000 * seconds);
  const crons = fc.constantFrom(
    '30 */5 * * * *',
    '7 * * * *',
    '30 2 * * *',
    '*/20 1-3 * * *',
    '15,45 0-4 * * *',
    '0 0 3 * * *',
  );

  it('however time is cut into pieces: each tick is decided once, and none is lost', () => {
    fc.assert(
      fc.property(
        crons,
        around,
        fc.array(fc.integer({ min: 1, max: 7_200 }), { minLength: 1, maxLength: 8 }),
        fc.constantFrom<MisfirePolicy>('skip', 'once', 'all'),
        fc.func(fc.boolean()),
        (cron, fromMs, steps, misfire, mayFireAt) => {
          const ticks = berlin(cron);
          const rules = { misfire, graceMs: 60_000, missedMax: 1_000_000 };
          let decidedMs = fromMs;
          let nowMs = fromMs;
          const decided: number[] = [];
          for (const seconds of steps) {
            nowMs += 1000 * seconds;
            const mayFire = mayFireAt(seconds);
            const decision = decide(ticks, rules, { decidedMs, mayFire }, nowMs);
            for (const { firstMs, lastMs } of decision.passedOver) {
              decided.push(...upcoming(ticks, firstMs - 1, Infinity, lastMs));
            }
            decided.push(...decision.fire);
            if (misfire === 'all' && mayFire) assert.deepEqual(decision.passedOver, []);
            const late = decision.fire.filter(tick => tick < nowMs - rules.graceMs);
            if (misfire !== 'all') assert(late.length <= (misfire === 'once' ? 1 : 0));
            ({ decidedMs } = decision);
          }
          assert.deepEqual(decided, upcoming(ticks, fromMs, Infinity, nowMs));
        },
      ),
      { numRuns: 30 },
    );
  });

  it('after a year of absence a schedule by the second has its answer at once', () => {
    const year = 365 * 86_400_000;
    const now = Date.parse('2026-11-28T12:00:00Z');
    const rules = { misfire: 'all' as const, graceMs: 10_000, missedMax: 5 };
    const decision = decide(berlin('* * * * * *'), rules, { decidedMs: now - year, mayFire: true }, now);
    assert.equal(decision.fire.length, 5 + 11);
    assert.equal(decision.fire.at(-1), now);
    assert.equal(decision.passedOver[0]!.firstMs, now - year + 1000);
    assert.equal(decision.passedOver[0]!.lastMs, decision.fire[0]! - 1000);
  });
});
