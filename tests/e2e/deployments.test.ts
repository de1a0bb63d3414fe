/** New versions on a real cluster under load: good ones, bad ones, canaries. Nobody who asks notices. The steps build on each other. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import AdmZip from 'adm-zip';
import type { DeploymentInfo, DeploymentState } from '#core';
import { holdfast, projectRoot, startCluster, until, type Cluster } from '../support/cluster.ts';
import { ledgerPackage, startLedgerClients } from '../support/ledger.ts';
import { stepByStep } from '../support/step-by-step.ts';

const run = promisify(execFile);
const keys = Array.from({ length: 60 }, (_, index) => `/ledger/k${index}`);
const update = { healthyAfterMs: 300, deadlineMs: 6_000 };

describe('deployments under load', function () {
  this.timeout(180_000);
  stepByStep();
  let cluster: Cluster;

  before(async () => {
    cluster = await startCluster({
      nodes: 3,
      routers: 2,
      edit(document) {
        Object.assign(document, { sessionTtlMs: 2_000, holdMs: 10_000 });
        for (const instance of document.componentInstances) instance.update = update;
        document.componentInstances.push({ id: 'ledgers', packageName: 'ledger', instances: 3, update });
        document.componentPackages.push({ name: 'ledger', version: '1.0.0' });
        document.routes.push({ pathPrefix: '/ledger', componentInstanceId: 'ledgers' });
      },
    });
    assert.equal((await put(ledgerPackage('1.0.0'))).status, 201);
    await runs('1.0.0');
    const text = await readFile(cluster.settingsPath, 'utf8');
    await cluster.writeSettings(`// Written by hand.\n${text}`);
  });
  after(() => cluster?.dispose());

  const put = (body: Buffer, query = '') =>
    cluster.master(`/api/master/packages${query}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/zip' },
      body: new Uint8Array(body),
    });
  const runs = (version: string) =>
    until(`three copies run ${version}`, async () => {
      const found = (await cluster.status()).instances.find(item => item.id === 'ledgers');
      return found?.running === 3 && found.live === 3 && found.versions[version] === 3 && !found.deployment;
    });
  async function newest(instance = 'ledgers'): Promise<DeploymentInfo> {
    const response = await cluster.master(`/api/master/deployments?instance=${instance}&limit=1`);
    const [found] = (await response.json()) as DeploymentInfo[];
    return found!;
  }
  async function reaches(version: string, state: DeploymentState): Promise<DeploymentInfo> {
    let seen: DeploymentInfo | undefined;
    await until(`the deployment to ${version} is ${state}`, async () => {
      seen = await newest();
      return seen?.to.packageVersion === version && seen.state === state;
    });
    return seen!;
  }
  async function cli(...words: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    try {
      return { code: 0, ...(await run(process.execPath, [holdfast, ...words], { cwd: cluster.directory })) };
    } catch (error) {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
      return { code, stdout, stderr };
    }
  }
  /** Under load, and nobody has noticed anything. */
  async function unnoticed(what: string, work: () => Promise<void>): Promise<void> {
    const clients = startLedgerClients(cluster.routerUris, keys, { written });
    await clients.more(200);
    await work();
    await clients.more(200);
    const report = await clients.stop();
    assert.deepEqual(report.problems, []);
    console.error(
      `      ${what}: ${report.total} requests, p99 ${report.p99Ms} ms, longest ${report.longestMs} ms`,
    );
  }
  const written = new Map<string, string[]>();

  it('rolls a good version without a failed request, and lets streams finish', async () => {
    await unnoticed('good version', async () => {
      // One after the other for each key: some are under way whenever a host stops. A stop leaves a stream more than two seconds.
      let rolling = true;
      const streams = keys.slice(0, 9).map(async key => {
        const lengths = new Set<number>();
        while (rolling) {
          const response = await fetch(`${cluster.routerUris[0]}${key}-stream?chunks=10`);
          const lines = await response.text().catch((error: unknown) => String(error));
          lengths.add(lines.trimEnd().split('\n').length);
        }
        return [...lengths];
      });
      await writeFile(join(cluster.directory, 'ledger.zip'), ledgerPackage('1.1.0'));
      const deployed = await cli('deploy', 'ledger.zip');
      rolling = false;
      assert.deepEqual(
        await Promise.all(streams),
        Array.from({ length: 9 }, () => [10]),
      );
      assert.equal(deployed.code, 0, deployed.stderr);
      await runs('1.1.0');
    });
    assert.equal((await newest()).state, 'succeeded');
  });

  it('rolls a version back by itself that does not start, or never gets ready', async () => {
    const before = await readFile(cluster.settingsPath, 'utf8');
    await unnoticed('bad versions', async () => {
      const bad = ledgerPackage('1.2.0', { start: 'throw new Error("no such table");' });
      await writeFile(join(cluster.directory, 'ledger.zip'), bad);
      const deployed = await cli('deploy', 'ledger.zip');
      assert.equal(deployed.code, 1);
      assert.match(deployed.stderr, /was rolled back: .*no such table/s);
      const sick = ledgerPackage('1.3.0', {
        start: 'context.reportHealth({ ready: false, message: "the cache is cold" });',
      });
      assert.equal((await put(sick)).status, 201);
      const ended = await reaches('1.3.0', 'rolled-back');
      assert.match(ended.reason!, /is not ready: .*the cache is cold/);
      await runs('1.1.0');
    });
    const after = await readFile(cluster.settingsPath, 'utf8');
    assert.equal(after, before, 'the settings are as they were, comments too');
    assert.equal((await cluster.status()).settings!.updatedBy, 'rollback');
  });

  it('serves with canaries and old copies, and goes on when it is told', async () => {
    await unnoticed('canary', async () => {
      assert.equal((await put(ledgerPackage('1.4.0'), '?canary=1')).status, 201);
      const canary = await reaches('1.4.0', 'canary');
      await until('the canary is there', async () => {
        const { versions } = (await cluster.status()).instances.find(item => item.id === 'ledgers')!;
        return versions['1.4.0'] === 1 && versions['1.1.0'] === 2;
      });
      const promoted = await cli('deployments', 'promote', canary.id);
      assert.equal(promoted.stdout, `${canary.id} is rolling\n`);
      await reaches('1.4.0', 'succeeded');
      await runs('1.4.0');
    });
  });

  it('goes back when a canary is aborted, and when an operator asks for the version before', async () => {
    await unnoticed('abort and rollback', async () => {
      assert.equal((await put(ledgerPackage('1.5.0'), '?canary=2')).status, 201);
      const { id } = await reaches('1.5.0', 'canary');
      assert.equal((await cli('deployments', 'abort', id)).code, 0);
      await reaches('1.5.0', 'aborted');
      await runs('1.4.0');
      const back = await cli('rollback', 'ledger');
      assert.equal(back.stdout, 'ledger is back at 1.1.0\n', back.stderr);
      await runs('1.1.0');
    });
  });

  it('rolls the host package of everything that runs', async () => {
    const zip = new AdmZip(join(projectRoot, 'build/packages/component-host-1.0.0.zip'));
    const manifest = JSON.parse(zip.readAsText('manifest.json')) as object;
    const next = new AdmZip();
    for (const entry of zip.getEntries()) {
      const content =
        entry.entryName === 'manifest.json'
          ? Buffer.from(JSON.stringify({ ...manifest, packageVersion: '1.0.1' }))
          : entry.getData();
      if (!entry.isDirectory) next.addFile(entry.entryName, content);
    }
    const pids = async () =>
      (await cluster.processes())
        .filter(({ settingsId }) => /^(ledgers|databases|router)/.test(settingsId ?? ''))
        .map(({ pid }) => pid);
    const before = await pids();
    assert.equal((await put(next.toBuffer())).status, 201);
    for (const instance of ['ledgers', 'databases', 'router', 'router-2']) {
      await until(`the deployment of ${instance} succeeded`, async () => {
        const { state, to } = await newest(instance);
        return state === 'succeeded' && to.hostVersion === '1.0.1';
      });
    }
    const after = await pids();
    assert.equal(after.length, before.length);
    assert.ok(after.every(pid => !before.includes(pid)));
    await unnoticed('after the host package', () => Promise.resolve());
  });
});
