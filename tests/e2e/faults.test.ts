/** Each fault once, under load, on one cluster. `npm run chaos` is the same with more rounds and seeds of your own. */
import assert from 'node:assert/strict';
import { runCampaign } from '../chaos/campaign.ts';
import { faults } from '../chaos/faults.ts';
import { skipLoudly } from '../support/skip-loudly.ts';

const seed = 20_261_120;

describe('a cluster in which everything breaks once', function () {
  this.timeout(180_000);

  before(function () {
    if (process.platform !== 'linux') skipLoudly(this, 'it looks into /proc, which only Linux has');
  });

  it(`loses nothing, answers as one, and heals (seed ${seed})`, async () => {
    const said: string[] = [];
    const result = await runCampaign({ seed, rounds: faults.length, say: text => said.push(text) });
    assert.deepEqual(result.violations, [], said.join('\n'));
    assert(
      result.acknowledged > 100 && result.requests > 1_000,
      `too little load: ${JSON.stringify(result)}`,
    );
  });
});
