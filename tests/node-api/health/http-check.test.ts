import { strict as assert } from 'node:assert';
import fc from 'fast-check';
import { initialCheck, stepCheck, type CheckOutcome } from '../../../node-api/health/http-check.ts';

const rules = { failuresMax: 3, restart: true, firstAnswerMs: 1_000 };
const good: CheckOutcome = { good: true };
const bad = (sinceStartMs = 0): CheckOutcome => ({ good: false, problem: 'it answered 503', sinceStartMs });

function run(outcomes: readonly CheckOutcome[], given = rules) {
  let state = initialCheck;
  return outcomes.map(outcome => {
    const step = stepCheck(state, outcome, given);
    ({ state } = step);
    return { ok: step.verdict?.ok ?? null, restart: step.restart };
  });
}

describe('node API: verdicts of HTTP checks', () => {
  it('says that it is good once, and that it is bad after failuresMax failures in a row', () => {
    const seen = run([good, good, bad(), bad(), good, bad(), bad(), bad(), bad(), good]);
    assert.deepEqual(
      seen.map(({ ok }) => ok),
      [true, null, null, null, null, null, null, false, null, true],
    );
  });

  it('restarts what was good and is bad, and what never was good only when the time for a start is over', () => {
    assert.deepEqual(
      run([good, bad(), bad(), bad()]).map(({ restart }) => restart),
      [false, false, false, true],
    );
    assert.deepEqual(
      run([bad(0), bad(300), bad(600), bad(900), bad(1_000)]).map(({ restart }) => restart),
      [false, false, false, false, true],
    );
    assert.ok(
      run([good, bad(), bad(), bad()], { ...rules, restart: false }).every(({ restart }) => !restart),
    );
  });

  it('never calls good what failed last, and never bad what was good within the last failuresMax checks', () => {
    const outcome = fc.boolean().map(isGood => (isGood ? good : bad(10_000)));
    fc.assert(
      fc.property(
        fc.array(outcome, { maxLength: 40 }),
        fc.integer({ min: 1, max: 5 }),
        (outcomes, failuresMax) => {
          let told: boolean | null = null;
          run(outcomes, { ...rules, failuresMax }).forEach(({ ok, restart }, index) => {
            told = ok ?? told;
            const recent = outcomes.slice(Math.max(0, index + 1 - failuresMax), index + 1);
            const failed = recent.length === failuresMax && recent.every(one => !one.good);
            if (outcomes[index]!.good) assert.equal(told, true);
            if (failed) assert.equal(told, false);
            else if (outcomes.slice(0, index + 1).some(one => one.good)) assert.equal(told, true);
            assert.equal(restart, failed);
          });
        },
      ),
    );
  });
});
