/** A short run of the nemesis on both kinds of coordination. `npm run nemesis` is the same with more rounds and seeds of your own. */
import assert from 'node:assert/strict';
import { lacksNetworks } from '../support/netns.ts';
import { hasRedis } from '../support/redis-server.ts';
import { skipLoudly } from '../support/skip-loudly.ts';
import { runCampaign, type CampaignOptions } from './campaign.ts';
import { startOneMachine } from './one-machine.ts';
import { startMachines } from './several-machines.ts';

const seed = 20_261_124;
/** Another each time, so that every run tries something new. */
const chance = Math.floor(Math.random() * 2 ** 31);

describe('the nemesis', function () {
  this.timeout(240_000);

  async function breaks(
    start: Parameters<typeof runCampaign>[0],
    options: Omit<CampaignOptions, 'say'>,
  ): Promise<void> {
    const said: string[] = [];
    const result = await runCampaign(start, {
      ...options,
      judgeFailures: false, // other tests keep the machine busy
      say: text => said.push(text),
    });
    assert.deepEqual(result.violations, [], `seeds ${seed} and ${chance}\n${said.join('\n')}`);
    const { operations, acknowledgedAppends } = result;
    assert(operations.ok > 100 && acknowledgedAppends > 30, `too little load: ${said.join('\n')}`);
  }

  describe('of several machines on Redis', () => {
    before(function () {
      const reason = hasRedis() ? lacksNetworks() : 'redis-server is not installed';
      if (reason) skipLoudly(this, reason);
    });

    it(`finds nothing that does not hold (seed ${seed}, and ${chance} by chance)`, () =>
      breaks(startMachines, { seed, rounds: 5, more: { seed: chance, rounds: 1 } }));
  });

  describe('of one machine on the embedded coordination', () => {
    before(function () {
      if (process.platform !== 'linux') skipLoudly(this, 'it looks into /proc, which only Linux has');
    });

    it(`finds nothing that does not hold (seed ${seed}, and ${chance} by chance)`, () =>
      breaks(startOneMachine, { seed, rounds: 3, more: { seed: chance, rounds: 1 } }));
  });
});
