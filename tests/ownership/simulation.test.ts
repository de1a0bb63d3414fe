/**
 * The shell of the guard (its promises, timers, calls) in a cluster in one process: clocks of different rates, a network that delays
 * and loses, hosts that freeze and crash. The resource checks nothing, so what is proven here is the guard alone:
 * a commit under an older fence after one under a newer would be two owners at once. The protocol itself has more thorough
 * schedules without the shell, and many more of them: tests/simulation.
 */
import assert from 'node:assert/strict';
import {
  createFakeSystem,
  type ClaimOutcome,
  type FakeSystem,
  type ResourceDirectory,
  type ResourceKey,
  type System,
} from '#core';
import { createOwnershipGuard, type OwnershipGuard } from '#ownership';
import { silentLog } from '../../ownership/silent-log.ts';
import { host, key, pool } from './vocabulary.ts';
import { createFakeDirectory } from './fake-directory.ts';

const ttlMs = 1_000;
const keys = ['a', 'b', 'c', 'd', 'e'].map(key);
const seeds = Number(process.env['HF_SIMULATION_SEEDS'] ?? 60);
const firstSeed = Number(process.env['HF_SIMULATION_SEED'] ?? 1);

/** A host's own time: another rate, and it can be frozen, when nothing that it waits for reaches it. */
class HostSystem implements System {
  readonly random: System['random'];
  readonly #base: FakeSystem;
  readonly #rate: number;
  readonly #startMs: number;
  #frozen = false;
  #crashed = false;
  #missed: (() => void)[] = [];

  constructor(base: FakeSystem, rate: number) {
    this.#base = base;
    this.#rate = rate;
    this.#startMs = base.clock.monotonicMs();
    this.random = base.random;
  }

  #elapsedMs(): number {
    return (this.#base.clock.monotonicMs() - this.#startMs) * this.#rate;
  }

  readonly clock: System['clock'] = {
    monotonicMs: () => this.#elapsedMs(),
    bootMs: () => this.#elapsedMs() + 9_000,
    wallMs: () => this.#elapsedMs() + 1_000_000,
  };

  readonly timers: System['timers'] = {
    after: (ms, callback) => {
      let cancelled = false;
      const fire = () => {
        if (cancelled) return;
        if (this.#frozen) this.#missed.push(fire);
        else callback();
      };
      const cancel = this.#base.timers.after(ms / this.#rate, fire);
      return () => {
        cancelled = true;
        cancel();
      };
    },
    every: () => assert.fail('not used'),
    sleep: ms => new Promise(resolve => this.timers.after(ms, resolve)),
  };

  freeze(): void {
    this.#frozen = true;
  }

  /** Frozen for ever. */
  crash(): void {
    this.#frozen = this.#crashed = true;
  }

  thaw(): void {
    if (this.#crashed) return;
    this.#frozen = false;
    for (const fire of this.#missed.splice(0)) fire();
  }
}

interface Host {
  name: string;
  system: HostSystem;
  guard: OwnershipGuard;
  crashed: boolean;
}

async function simulate(seed: number): Promise<{ commits: number; refusals: number; owners: number }> {
  const base = createFakeSystem(seed);
  const chance = (probability: number) => base.random.fraction() < probability;
  const upTo = (limit: number) => Math.floor(base.random.fraction() * limit);
  const { port } = createFakeDirectory(base);
  let calm = false;
  const network = { delayMs: () => (calm ? 1 : chance(0.1) ? null : chance(0.1) ? upTo(400) : upTo(10)) };
  const fences = new Map<ResourceKey, bigint>();
  const open = new Map<string, number>();
  let commits = 0;
  let refusals = 0;
  let owners = 0;
  let names = 0;

  function createHost(): Host {
    const name = `h${++names}`;
    const rate = 0.96 + base.random.fraction() * 0.08;
    const system = new HostSystem(base, rate);
    // Answers of the directory reach the host in its own time: not while it is frozen.
    const remote = port(network);
    const directory = Object.fromEntries(
      Object.entries(remote).map(([method, call]) => [
        method,
        async (...args: unknown[]) => {
          try {
            return await (call as (...all: unknown[]) => Promise<unknown>)(...args);
          } finally {
            await system.timers.sleep(0);
          }
        },
      ]),
    ) as unknown as ResourceDirectory;
    const guard = createOwnershipGuard({
      system,
      directory,
      session: host(name, { ttlMs }),
      log: silentLog,
      concurrency: upTo(3),
      component: {
        async openResource(resource) {
          const id = `${name} ${resource.key}`;
          open.set(id, (open.get(id) ?? 0) + 1);
          assert.equal(open.get(id), 1, 'opened twice at once');
          await system.timers.sleep(upTo(30));
          if (!calm && chance(0.05)) {
            open.set(id, open.get(id)! - 1);
            throw new Error('cannot open');
          }
          return {
            fetch: () => new Response(),
            async close() {
              await system.timers.sleep(upTo(30));
              open.set(id, open.get(id)! - 1);
            },
          };
        },
      },
    });
    void guard.start().catch(() => {}); // the network was too bad
    return { name, system, guard, crashed: false };
  }

  async function request(hosts: Host[], router: ResourceDirectory): Promise<void> {
    const wanted = keys[upTo(keys.length)]!;
    const outcome = await router
      .claim(pool, wanted)
      .catch((): ClaimOutcome => ({ owned: false, reason: 'no-live-host' }));
    if (!outcome.owned) return;
    const { claim } = outcome;
    await base.timers.sleep(chance(0.1) ? upTo(1_500) : upTo(5));
    const owner = hosts.find(one => host(one.name).processId === claim.processId);
    if (!owner || owner.crashed) return;
    await owner.system.timers.sleep(0);
    await owner.guard
      .serve(claim, async (_handler, resource) => {
        await owner.system.timers.sleep(chance(0.2) ? upTo(1_200) : upTo(10));
        if (owner.crashed) return;
        resource.assertOwned();
        const last = fences.get(wanted) ?? 0n;
        assert(
          resource.fence >= last,
          `seed ${seed}: ${owner.name} commits ${wanted} under ${resource.fence} after ${last}`,
        );
        if (resource.fence > last) owners++;
        fences.set(wanted, resource.fence);
        commits++;
      })
      .catch((error: unknown) => {
        if (error instanceof assert.AssertionError) throw error;
        refusals++;
      });
  }

  const hosts = [createHost(), createHost(), createHost()];
  const router = port(network);
  const failures: unknown[] = [];
  for (let turn = 0; turn < 400; turn++) {
    await base.advance(upTo(25));
    for (let count = upTo(3); count > 0; count--) {
      request(hosts, router).catch((error: unknown) => failures.push(error));
    }
    const victim = hosts[upTo(hosts.length)]!;
    if (chance(0.02)) {
      victim.system.freeze();
      base.timers.after(upTo(3 * ttlMs), () => victim.system.thaw());
    }
    if (chance(0.005)) {
      victim.crashed = true;
      victim.system.crash();
      hosts[hosts.indexOf(victim)] = createHost();
      base.timers.after(
        upTo(100),
        () => void router.endSessionsOf(host(victim.name).processId).catch(() => {}),
      );
    }
    if (chance(0.005)) {
      void victim.guard.drain();
      hosts.push(createHost());
      base.timers.after(4 * ttlMs, () => {
        const place = hosts.indexOf(victim);
        if (place >= 0) hosts.splice(place, 1);
      });
    }
    assert.deepEqual(failures, []);
  }

  // Bad times end: every key is served again within a bound (I7).
  calm = true;
  for (const one of hosts) one.system.thaw();
  await base.advance(5 * ttlMs);
  hosts.push(createHost());
  await base.advance(100);
  const before = commits;
  for (let count = 0; count < 100; count++) {
    request(hosts, router).catch((error: unknown) => failures.push(error));
    await base.advance(100);
  }
  await base.advance(5_000);
  assert.deepEqual(failures, []);
  assert(commits - before > 80, `seed ${seed}: only ${commits - before} of 100 served in calm times`);
  return { commits, refusals, owners };
}

describe('a simulated cluster of guards with their shells', () => {
  it('has one owner of each key at a time, and recovers', async function () {
    this.timeout(120_000);
    const total = { commits: 0, refusals: 0, owners: 0 };
    for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
      const { commits, refusals, owners } = await simulate(seed);
      total.commits += commits;
      total.refusals += refusals;
      total.owners += owners;
    }
    // The simulation is worth something only if keys did move and requests did meet the wrong host.
    assert(
      total.commits > seeds * 100 && total.owners > seeds * 10 && total.refusals > seeds,
      JSON.stringify(total),
    );
  });
});
