import assert from 'node:assert/strict';
import type { Claim, Coordination, ResourceHandler } from '#core';
import { createOwnershipGuard, type OwnershipGuard } from '#ownership';
import { silentLog } from '../../../ownership/silent-log.ts';
import { until } from '../../leases/conformance.ts';
import { claim, host } from '../vocabulary.ts';
import { CoordinatorHarness, system } from '../harness.ts';

describe('ownership guard with the real store', () => {
  let harness: CoordinatorHarness;
  let router: Coordination;
  let guards: OwnershipGuard[];
  let open: Map<string, number>;
  beforeEach(async () => {
    harness = await CoordinatorHarness.create();
    await harness.start();
    router = await harness.connect();
    guards = [];
    open = new Map();
  });
  afterEach(async () => {
    for (const guard of guards) guard.abort();
    await harness.stop();
  });

  async function start(name: string, ttlMs: number): Promise<OwnershipGuard> {
    const guard = createOwnershipGuard({
      system,
      directory: (await harness.connect()).directory,
      session: host(name, { ttlMs }),
      log: silentLog,
      concurrency: 0,
      component: {
        async openResource({ key }) {
          open.set(key, (open.get(key) ?? 0) + 1);
          assert.equal(open.get(key), 1, 'open in two places');
          return {
            fetch: () => new Response('hello'),
            async close() {
              open.set(key, open.get(key)! - 1);
            },
          };
        },
      },
    });
    guards.push(guard);
    await guard.start();
    return guard;
  }
  const answer = async (handler: ResourceHandler) => (await handler.fetch(new Request('http://h/'))).status;

  /** As a router does: claims again when the host says that it is not the owner. */
  async function ask(name: string): Promise<Claim> {
    for (let tries = 0; ; tries++) {
      const held = await claim(router.directory, name);
      const owner = guards.find(guard => guard.session?.sessionId === held.sessionId);
      try {
        assert(owner, 'nobody has that session');
        assert.equal(await owner.serve(held, answer), 200);
        return held;
      } catch (error) {
        if (tries > 300) throw error;
        await new Promise(resolve => setTimeout(resolve, 10));
      }
    }
  }

  it('moves every key when a host drains, with the next host serving each at once', async () => {
    const first = await start('h1', 5_000);
    const names = Array.from({ length: 100 }, (_, index) => `k${index}`);
    const before = await Promise.all(names.map(ask));
    await start('h2', 5_000);
    const [after] = await Promise.all([Promise.all(names.map(ask)), first.drain()]);
    const settled = await Promise.all(names.map(ask));
    for (const index of names.keys()) {
      assert(settled[index]!.fence > before[index]!.fence && settled[index]!.fence >= after[index]!.fence);
      assert.equal(settled[index]!.processId, 'node-1-h2');
    }
    assert.equal(first.metrics.overruns, 0);
  });

  it('keeps its session and its keys when the store is killed and started again', async () => {
    const guard = await start('h1', 8_000);
    const held = await ask('a');
    await harness.restart();
    assert.equal(await guard.serve(held, answer), 200);
    await until(() =>
      router.directory.renewSession(held.sessionId).then(
        renewed => renewed.alive,
        () => false,
      ),
    );
    assert.deepEqual(await ask('a'), { ...held, hadOwner: true });
    assert.equal(guard.metrics.sessionsLost, 0);
  });

  it('stops by itself when the store is gone, and serves again when it is back', async () => {
    const guard = await start('h1', 1_000);
    const held = await ask('a');
    await harness.kill();
    await until(() => guard.session === null);
    await until(() => open.get(held.key) === 0);
    await assert.rejects(guard.serve(held, answer), { code: 'HF_NOT_OWNER' });
    await harness.start();
    await until(() => guard.session !== null);
    assert((await ask('a')).fence > held.fence);
  });
});
