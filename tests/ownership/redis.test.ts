/** The conformance suites, on a real Redis. */
import { until } from '../leases/conformance.ts';
import { hasRedis, startRedis, type RedisServer } from '../support/redis-server.ts';
import { skipLoudly } from '../support/skip-loudly.ts';
import { directoryConformance } from './directory-conformance.ts';
import { RedisHarness } from './redis-harness.ts';
import { RECOVERY_TTL_MS, type DirectoryHarness } from './vocabulary.ts';

describe('coordination store on Redis', () => {
  let server: RedisServer;

  before(async function () {
    if (!hasRedis()) skipLoudly(this, 'no redis-server is installed');
    server = await startRedis();
  });
  after(() => server?.stop());

  async function startHarness(): Promise<DirectoryHarness> {
    const harness = new RedisHarness(server, 60_000);
    await harness.begin();
    const [one, two] = [await harness.connect(), await harness.connect()];
    return {
      one,
      two,
      // A Redis that was really started anew counts as one that forgot, whatever it kept: see redis-forgets.test.ts.
      async restart() {
        await harness.cut();
        // Leases reject while their connection is away, at once.
        for (const { leases } of [one, two])
          await until(() =>
            leases.inspect('x').then(
              () => true,
              () => false,
            ),
          );
      },
      forget: () => harness.forget(RECOVERY_TTL_MS + 500),
      stop: () => harness.stop(),
    };
  }

  directoryConformance(startHarness);
});
