/** The scripts on a real Redis decide what the pure directory decides: random histories are played to both, and every answer, every event and what is there at the end must be the same. */
import fc from 'fast-check';
import { hasRedis, startRedis, type RedisServer } from '../support/redis-server.ts';
import { skipLoudly } from '../support/skip-loudly.ts';
import { RedisHarness } from './redis-harness.ts';
import { collectMs, keyNames, Play, type Operation } from './redis-play.ts';

const inPool = fc.nat(1);
const name = fc.constantFrom(...keyNames);
const pick = fc.nat(30);
const who = fc.nat(4);
const late = fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(4) });
const weighted = (weight: number, type: string, more: object = {}) => ({
  weight,
  arbitrary: fc.record({ type: fc.constant(type), ...more }) as unknown as fc.Arbitrary<Operation>,
});
const operation = fc.oneof(
  weighted(6, 'open', {
    inPool,
    who,
    ttl: fc.nat(2),
    capacity: fc.constantFrom(1, 2, 1.5, 3),
    flag: fc.boolean(),
    stale: fc.boolean(),
    late,
  }),
  weighted(4, 'resume', {
    inPool,
    who,
    late,
    ttl: fc.nat(2),
    picks: fc.array(pick, { maxLength: 4 }),
    flag: fc.boolean(),
  }),
  weighted(2, 'adopt', { pick, picks: fc.array(pick, { maxLength: 4 }), flag: fc.boolean() }),
  weighted(14, 'claim', { inPool, name }),
  weighted(5, 'claimMany', { inPool, names: fc.array(name, { maxLength: 6 }) }),
  weighted(4, 'release', { picks: fc.array(pick, { maxLength: 4 }), stale: fc.boolean() }),
  weighted(4, 'transfer', { pick, who: pick, flag: fc.boolean() }),
  weighted(3, 'confirm', { pick }),
  weighted(2, 'raise', { pick, who: pick }),
  weighted(3, 'pause', { inPool, name }),
  weighted(3, 'unpause', { inPool, name }),
  weighted(2, 'import', {
    inPool,
    name,
    pick,
    flag: fc.boolean(),
    stale: fc.boolean(),
    atMs: fc.option(fc.nat(3)),
  }),
  weighted(4, 'setAlarm', { pick, atMs: fc.option(fc.nat(3)) }),
  weighted(2, 'settleAlarm', { pick, atMs: fc.nat(3) }),
  weighted(4, 'renew', { pick }),
  weighted(4, 'update', { pick, flag: fc.boolean(), stale: fc.boolean() }),
  weighted(1, 'close', { pick }),
  weighted(1, 'die', { who }),
  weighted(4, 'wait'),
  weighted(1, 'forget'),
);

describe('directory on Redis', function () {
  let server: RedisServer;
  before(async function () {
    if (!hasRedis()) skipLoudly(this, 'no redis-server is installed');
    server = await startRedis();
  });
  after(() => server?.stop());

  it('decides what the pure directory decides, through every history', async function () {
    this.timeout(120_000);
    await fc.assert(
      fc.asyncProperty(
        fc.array(operation, { minLength: 20, maxLength: 120, size: 'max' }),
        async operations => {
          const harness = new RedisHarness(server, 300_000);
          try {
            await harness.raw.eval(...harness.attachment(collectMs));
            const clients = [await harness.connect(), await harness.connect()].map(
              ({ directory }) => directory,
            );
            const play = new Play(harness, clients);
            clients[0]!.watch(event => play.redisEvents.push(event));
            await clients[0]!.sessions();
            for (const one of operations) await play.run(one);
            for (const client of clients) await client.sessions();
            await play.compare();
          } finally {
            await harness.stop();
          }
        },
      ),
      { numRuns: 120 },
    );
  });
});
