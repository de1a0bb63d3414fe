/**
 * Two node managers on a real cluster: the leader is killed and frozen under load. The other one leads, does what was asked for just before, and
 * nobody who asks for a key notices. The steps build on each other.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createMasterClient } from '#client';
import type { MasterHost, MasterStatus, ResourceInfo } from '#core';
import { holdfast, startCluster, until, type Cluster } from '../support/cluster.ts';
import { ledgerPackage, startLedgerClients } from '../support/ledger.ts';
import { hasRedis } from '../support/redis-server.ts';
import { skipLoudly } from '../support/skip-loudly.ts';
import { stepByStep } from '../support/step-by-step.ts';

const keys = Array.from({ length: 40 }, (_, index) => `/ledger/k${index}`);

for (const coordination of ['embedded', 'redis'] as const) {
  describe(`two node managers (${coordination})`, function () {
    this.timeout(180_000);
    stepByStep();
    let cluster: Cluster;
    /** Where managers answer. */
    let addresses: string[] = [];
    const written = new Map<string, string[]>();

    before(async function () {
      if (coordination === 'redis' && !hasRedis()) skipLoudly(this, 'redis-server is not installed');
      cluster = await startCluster({
        coordination,
        nodes: 3,
        edit(document) {
          Object.assign(document, { managers: 2, sessionTtlMs: 5_000, holdMs: 15_000 });
          const manager = document.componentInstances.find(({ id }) => id === 'node-manager')!;
          Object.assign(manager.settings as object, { leaseTtlMs: 2_000, rebalanceMovesPerMinute: 0 });
        },
      });
      const uploaded = await cluster.master('/api/master/packages', {
        method: 'POST',
        headers: { 'content-type': 'application/zip' },
        body: ledgerPackage(),
      });
      assert.equal(uploaded.status, 201, await uploaded.text());
      await cluster.editSettings(document => {
        document.componentInstances.push({ id: 'ledgers', packageName: 'ledger', instances: 3 });
        document.routes.push({ pathPrefix: '/ledger', componentInstanceId: 'ledgers' });
      });
      addresses = [cluster.masterUri];
      await led(status => status.instances.find(({ id }) => id === 'ledgers')?.running === 3);
    });
    after(() => cluster?.dispose());

    const clientOf = (uri: string) => createMasterClient({ uri, token: cluster.token, timeoutMs: 2_000 });

    /** What the leader says, when it says what is waited for. */
    async function led(satisfies: (status: MasterStatus) => boolean = () => true): Promise<MasterStatus> {
      return until('a manager that leads says what is waited for', async () => {
        const seen = await Promise.all(
          addresses.map(uri =>
            clientOf(uri)
              .status()
              .catch(() => null),
          ),
        );
        // One that was started again may listen elsewhere.
        const managers = seen.flatMap(found => found?.managers ?? []);
        addresses = [...new Set([...addresses, ...managers.map(({ address }) => address)])];
        const status = seen.find(found => found?.isLeader);
        return status && satisfies(status) ? status : null;
      });
    }

    async function hosts(): Promise<MasterHost[]> {
      const { managers } = await led();
      return clientOf(managers.find(({ leads }) => leads)?.address ?? addresses[0]!).hosts();
    }

    async function leaderPid(): Promise<{ processId: string; pid: number }> {
      const { leader } = await led();
      const host = (await hosts()).find(({ processId }) => processId === leader!.processId)!;
      return { processId: host.processId, pid: host.pid! };
    }

    async function owners(): Promise<Map<string, string>> {
      const { managers } = await led();
      const client = clientOf(managers.find(({ leads }) => leads)!.address);
      const { resources } = await client.resources({ prefix: '/ledger', limit: 1_000 });
      return new Map(
        resources.map(({ key, owner, fence }: ResourceInfo) => [key, `${owner.processId} ${fence}`]),
      );
    }

    it('run on different nodes and know each other; the command line knows both', async () => {
      const status = await led(seen => seen.managers.length === 2);
      assert.equal(new Set(status.managers.map(({ nodeName }) => nodeName)).size, 2);
      assert.equal(status.managers.filter(({ leads }) => leads).length, 1);
      const standby = status.managers.find(({ leads }) => !leads)!;
      const seen = await until('it answers', async () => {
        const found = await clientOf(standby.address).status();
        return found.leader?.processId === status.leader!.processId && found;
      });
      assert.equal(seen.isLeader, false);
      await until('both are noted', async () => {
        const file = JSON.parse(await readFile(join(cluster.stateRoot, 'cluster.json'), 'utf8')) as {
          managers: string[];
        };
        return file.managers.length === 2;
      });
    });

    for (const [signal, what] of [
      ['SIGSTOP', 'frozen'],
      ['SIGKILL', 'killed'],
    ] as const) {
      it(`when the leader is ${what} another one leads, and does what was asked for just before; no key changes hands`, async () => {
        const load = startLedgerClients(cluster.routerUris, keys, { workers: 4, written });
        await load.more(200);
        const before = await owners();
        assert.equal(before.size, keys.length);
        const copies = new Set((await hosts()).filter(isLedger).map(({ processId }) => processId));
        const victim = await leaderPid();
        const id = `more-${what}`;
        await cluster.editSettings(document => {
          document.componentInstances.push({ id, packageName: 'hello', instances: 1 });
        });
        process.kill(victim.pid, signal);
        const status = await led(
          seen =>
            seen.leader?.processId !== victim.processId &&
            seen.instances.find(instance => instance.id === id)?.running === 1,
        );
        assert.notEqual(status.leader!.processId, victim.processId);
        if (signal === 'SIGSTOP') {
          const { stdout } = await promisify(execFile)(process.execPath, [holdfast, 'nodes', 'list'], {
            cwd: cluster.directory,
          });
          assert.match(stdout, /node-3 +ready/);
          wake(victim.pid);
        }
        await load.more(200);
        const report = await load.stop();
        assert.deepEqual(report.problems, [], `of ${report.total} requests`);
        assert.deepEqual(await owners(), before);
        const after = (await hosts()).filter(isLedger).map(({ processId }) => processId);
        assert.deepEqual(new Set(after), copies);
        // Whatever woke or was started again stands by: there are two, and one leads.
        const again = await led(
          seen => seen.managers.length === 2 && seen.managers.filter(({ leads }) => leads).length === 1,
        );
        assert.equal(new Set(again.managers.map(({ nodeName }) => nodeName)).size, 2);
      });
    }
  });
}

const isLedger = (host: MasterHost) => host.component?.instanceId === 'ledgers';

/** Its agent may have ended it meanwhile, because its session was over. */
function wake(pid: number): void {
  try {
    process.kill(pid, 'SIGCONT');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
