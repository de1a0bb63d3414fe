import { strict as assert } from 'node:assert';
import fc from 'fast-check';
import {
  initialLiveness,
  LIVENESS_ROUNDS,
  stepLiveness,
  type LivenessEvent,
} from '../../../node-api/health/liveness.ts';

/** What the events make it do, one entry for each. */
function run(events: readonly LivenessEvent['type'][]): (string | null)[] {
  let state = initialLiveness;
  return events.map(type => {
    const step = stepLiveness(state, { type });
    ({ state } = step);
    return step.effect;
  });
}

describe('node API: liveness', () => {
  it('asks at the first round, waits for the answer, and gives up after four rounds without one', () => {
    assert.deepEqual(run(Array.from({ length: 5 }, () => 'round')), [
      'ask',
      null,
      null,
      null,
      'unresponsive',
    ]);
  });

  it('asks again as soon as it can when the host was not connected, and counts that as silence', () => {
    const events = ['round', 'not-asked', 'round', 'not-asked', 'round', 'round', 'round'] as const;
    assert.deepEqual(run(events), ['ask', null, 'ask', null, 'ask', null, 'unresponsive']);
  });

  it('forgets every silence with an answer', () => {
    const events = ['round', 'round', 'round', 'round', 'answered', 'round', 'round'] as const;
    assert.deepEqual(run(events), ['ask', null, null, null, null, 'ask', null]);
  });

  it('calls nothing unresponsive that answered within the last four rounds, and everything else', () => {
    const event = fc.constantFrom<LivenessEvent['type']>('round', 'answered', 'not-asked');
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), events => {
        let silentRounds = -1; // the first round asks
        run(events).forEach((effect, index) => {
          if (events[index] === 'answered') silentRounds = -1;
          if (events[index] !== 'round') return assert.equal(effect, null);
          silentRounds++;
          assert.equal(effect === 'unresponsive', silentRounds === LIVENESS_ROUNDS);
          if (effect === 'unresponsive') silentRounds = -1;
        });
      }),
    );
  });
});
