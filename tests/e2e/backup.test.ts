/**
 * A cluster with keys of all kinds is backed up, goes on, and ends; another one, empty, becomes what it was, although its node manager is killed
 * in the middle of it. The steps build on each other.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createMasterClient, type MasterClient } from '#client';
import type { SettingsRevision } from '#core';
import { holdfast, startCluster, until, type Cluster, type Document } from '../support/cluster.ts';
import { ledgerPackage, type LedgerView } from '../support/ledger.ts';
import { hasRedis } from '../support/redis-server.ts';
import { skipLoudly } from '../support/skip-loudly.ts';
import { stepByStep } from '../support/step-by-step.ts';

const run = promisify(execFile);
const keys = Array.from({ length: 30 }, (_, index) => `/ledger/k${index}`);
const [paused, alarmed, ...others] = keys as [string, string, ...string[]];
/** What the restored cluster needs time for on a busy machine. */
const patienceMs = 180_000;

for (const coordination of ['embedded', 'redis'] as const) {
  describe(`backup and restore (${coordination})`, function () {
    this.timeout(patienceMs);
    stepByStep();
    let from: Cluster;
    let to: Cluster | undefined;
    let file: string;
    let revisions: SettingsRevision[];
    /** The highest that anybody saw, by key. */
    const fences = new Map<string, bigint>();
    /** What every key must hold. */
    const written = new Map<string, string[]>();

    before(async function () {
      if (coordination === 'redis' && !hasRedis()) skipLoudly(this, 'redis-server is not installed');
      from = await startCluster({ coordination, nodes: 2, edit: bare });
      file = join(from.directory, 'backup.zip');
      const uploaded = await from.master('/api/master/packages', {
        method: 'POST',
        headers: { 'content-type': 'application/zip' },
        body: ledgerPackage(),
      });
      assert.equal(uploaded.status, 201, await uploaded.text());
      await from.editSettings(document => {
        document.componentInstances.push({ id: 'ledgers', packageName: 'ledger', instances: 2 });
        document.routes.push({ pathPrefix: '/ledger', componentInstanceId: 'ledgers' });
      });
      await runs(from);
      await from.editSettings(document => void (document.syncIntervalMs = 20_000));
    });
    after(async () => {
      await to?.dispose();
      await from?.dispose();
    });

    function bare(document: Document): void {
      Object.assign(document, { sessionTtlMs: 2_000, holdMs: 4_000, componentPackages: [], routes: [] });
      document.componentInstances = document.componentInstances.filter(({ id }) => id !== 'databases');
    }
    const runs = (cluster: Cluster) =>
      until('two ledgers run', async () => {
        const found = (await cluster.status()).instances.find(item => item.id === 'ledgers');
        return found?.running === 2 && found.live === 2;
      });
    const clientOf = ({ masterUri, token }: Cluster): MasterClient =>
      createMasterClient({ uri: masterUri, token });

    async function ask(cluster: Cluster, key: string, entry?: string, query = ''): Promise<LedgerView> {
      const init = entry === undefined ? {} : { method: 'POST', body: entry };
      const response = await fetch(`${cluster.routerUris[0]}${key}${query}`, init);
      assert.equal(response.status, 200, await response.clone().text());
      const view = (await response.json()) as LedgerView;
      const seen = fences.get(key) ?? 0n;
      assert(BigInt(view.fence) >= seen, `${key}: ${view.fence} after ${seen}`);
      fences.set(key, BigInt(view.fence));
      if (entry !== undefined) written.set(key, [...(written.get(key) ?? []), entry]);
      return view;
    }

    /** Runs the command in the folder of a cluster; answers with what it printed and how it ended. */
    const command = (cluster: Cluster, ...words: string[]) =>
      run(process.execPath, [holdfast, ...words], { cwd: cluster.directory }).then(
        ({ stdout }) => ({ code: 0, stdout, stderr: '' }),
        (failure: { code: number; stdout: string; stderr: string }) => failure,
      );

    it('writes a file that only its owner may read, while the cluster runs', async () => {
      for (const key of keys) await ask(from, key, 'first');
      await ask(from, alarmed, 'alarm', '?alarmMs=8000');
      assert.equal((await command(from, 'key', 'pause', paused)).code, 0);
      const { code, stdout, stderr } = await command(from, 'backup', '--output', file, '--json');
      assert.equal(code, 0, stderr);
      const { counts } = JSON.parse(stdout) as { counts: Record<string, number> };
      assert.equal(counts.keys, keys.length);
      assert(counts.packages! >= 4, 'ledger, component-host, node-manager, router');
      assert.equal((await stat(file)).mode & 0o777, 0o600);
      revisions = await clientOf(from).settingsHistory();
      assert.equal(counts.revisions, revisions.length);
      assert(revisions.length >= 3);
    });

    it('is of a cluster that goes on: keys change hands, and are written to', async () => {
      for (let round = 0; round < 3; round++) {
        for (const key of others.slice(0, 10)) await clientOf(from).release(key);
        for (const key of others) await ask(from, key, `later ${round}`);
      }
      await ask(from, '/ledger/new', 'made after the backup');
      assert.equal(await from.stop(), 0);
    });

    it('is brought into an empty cluster, the data copied besides; the node manager is killed meanwhile', async () => {
      const source = from;
      to = await startCluster({
        coordination,
        nodes: 2,
        edit(document) {
          bare(document);
          // Where its manager and its router listen is in the backup: here it is the same.
          for (const instance of document.componentInstances) {
            const uri = instance.packageName === 'router' ? source.routerUris[0]! : source.masterUri;
            instance.settings = { port: Number(new URL(uri).port) };
          }
        },
      });
      await cp(join(from.stateRoot, 'data/ledgers'), join(to.stateRoot, 'data/ledgers'), { recursive: true });
      const target = to;
      const manager = (await target.processes()).find(
        ({ component }) => component?.packageName === 'node-manager',
      );
      const over = new AbortController();
      const killed = (async () => {
        for await (const event of clientOf(target).events(over.signal)) {
          if (event.type !== 'restore' || !String(event.step).startsWith('package ledger')) continue;
          process.kill(manager!.pid!, 'SIGKILL');
          return;
        }
      })();
      const first = await command(target, 'restore', file);
      await killed;
      over.abort();
      assert.equal(first.code, 1, first.stdout);
      assert.equal(
        (await target.status().catch(() => null))?.instances.some(({ id }) => id === 'ledgers') ?? false,
        false,
      );
    });

    it('goes on when it is sent again', async () => {
      await until(
        'another node manager leads',
        async () =>
          (
            await clientOf(to!)
              .status()
              .catch(() => null)
          )?.isLeader,
      );
      let outcome = await command(to!, 'restore', file);
      await until('it is restored', async () => {
        if (outcome.code === 0) return true;
        assert.match(
          outcome.stderr,
          /HF_(?:NOT_LEADER|UNAVAILABLE|NODE_UNREACHABLE)|is (?:unknown|suspect|dead)/,
        );
        outcome = await command(to!, 'restore', file);
        return false;
      });
      assert.match(outcome.stdout, /^restored test as it was at .*\n/);
      assert.match(outcome.stdout, /The data of components was not in it/);
      await runs(to!);
    });

    it('has every key with its state, under fences above all that there ever were', async () => {
      const highest = [...fences.values()].reduce((most, fence) => (fence > most ? fence : most), 0n);
      for (const key of others) {
        const view = await ask(to!, key);
        assert.deepEqual(view.entries, written.get(key), key);
        assert.equal(view.hadOwner, true, key);
        assert(BigInt(view.fence) > highest, `${key}: ${view.fence}, and ${highest} was given out before`);
      }
      const made = await ask(to!, '/ledger/new');
      assert.deepEqual(made.entries, ['made after the backup']);
      assert(BigInt(made.fence) > highest);
    });

    it('lets alarms go off, and keeps paused keys paused', async () => {
      const hosts = (await to!.processes()).map(({ processId }) => `alarm by ${processId}`);
      await until('the alarm goes off', async () =>
        (await ask(to!, alarmed)).entries.some(entry => hosts.includes(entry)),
      );
      const response = await fetch(`${to!.routerUris[0]}${paused}`);
      assert.equal(((await response.json()) as { code: string }).code, 'HF_KEY_PAUSED');
      assert.equal((await command(to!, 'key', 'resume', paused)).code, 0);
      assert.deepEqual((await ask(to!, paused)).entries, ['first']);
    });

    it('has the history of the settings, its own nodes and store', async () => {
      const client = clientOf(to!);
      const [restored, ...earlier] = await client.settingsHistory();
      assert.deepEqual(earlier, revisions);
      assert.match(restored!.updatedBy, /^restore: .*@.* \(admin\)$/);
      const { changes } = await client.settingsDiff();
      const lists = new Set(changes.map(({ path }) => path.split('.')[1]));
      lists.delete('coordination');
      assert.deepEqual([...lists], ['nodeServers']);
      assert.deepEqual((await client.nodes()).map(node => node.nodeApiUri).sort(), [...to!.nodeUris].sort());
    });

    it('is refused a second time', async () => {
      const { code, stderr } = await command(to!, 'restore', file);
      assert.equal(code, 1);
      assert.match(
        stderr,
        /^HF_CLUSTER_NOT_EMPTY: .*was restored from a backup at .*the instance ledgers: take it out/,
      );
    });
  });
}
