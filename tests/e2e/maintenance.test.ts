/** What an operator does with nodes and instances of a running cluster, by the command line, under load: nobody who asks for a key notices. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { MasterNode, ProcessInfo } from '#core';
import { holdfast, startCluster, until, type Cluster } from '../support/cluster.ts';
import { ledgerPackage, startLedgerClients } from '../support/ledger.ts';
import { stepByStep } from '../support/step-by-step.ts';

const keys = Array.from({ length: 60 }, (_, index) => `/ledger/k${index}`);

describe('maintenance of a running cluster', function () {
  this.timeout(180_000);
  stepByStep();
  let cluster: Cluster;

  before(async () => {
    cluster = await startCluster({
      nodes: 3,
      edit: document => void Object.assign(document, { sessionTtlMs: 5_000, holdMs: 15_000 }),
    });
    const uploaded = await cluster.master('/api/master/packages', {
      method: 'POST',
      headers: { 'content-type': 'application/zip' },
      body: ledgerPackage(),
    });
    assert.equal(uploaded.status, 201, await uploaded.text());
    await cluster.editSettings(document => {
      document.componentInstances.push({
        id: 'ledgers',
        packageName: 'ledger',
        instances: 3,
        update: { healthyAfterMs: 200 },
      });
      document.routes.push({ pathPrefix: '/ledger', componentInstanceId: 'ledgers' });
    });
    await runs(3);
  });
  after(() => cluster?.dispose());

  async function runs(copies: number): Promise<void> {
    await until(`${copies} copies run`, async () => {
      const found = (await cluster.status()).instances.find(item => item.id === 'ledgers');
      return found?.running === copies && found.live === copies;
    });
  }

  async function command(...words: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    return promisify(execFile)(process.execPath, [holdfast, ...words], { cwd: cluster.directory }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      (error: { code: number; stdout: string; stderr: string }) => error,
    );
  }

  const isLedger = (info: ProcessInfo) =>
    info.component?.instanceId === 'ledgers' && info.state === 'Running';

  async function ledgersByNode(): Promise<Map<string, string[]>> {
    const hosts = (await (await cluster.master('/api/master/hosts')).json()) as (ProcessInfo & {
      nodeName: string;
    })[];
    const found = Map.groupBy(hosts.filter(isLedger), host => host.nodeName);
    return new Map([...found].map(([node, infos]) => [node, infos.map(info => info.processId)]));
  }

  /** One that has a ledger, and no router: that cannot be in two places, because its port is fixed. */
  async function nodeToDrain(): Promise<string> {
    const hosts = (await (await cluster.master('/api/master/hosts')).json()) as (ProcessInfo & {
      nodeName: string;
    })[];
    const busy = new Set(
      hosts
        .filter(
          ({ component }) => component?.packageName === 'router' || component?.packageName === 'node-manager',
        )
        .map(host => host.nodeName),
    );
    return [...(await ledgersByNode()).keys()].find(name => !busy.has(name))!;
  }

  async function underLoad(work: () => Promise<void>): Promise<void> {
    const load = startLedgerClients(cluster.routerUris, keys, { workers: 4, written });
    await load.more(100);
    await work();
    await load.more(100);
    const report = await load.stop();
    assert.deepEqual(report.problems, [], `of ${report.total} requests`);
  }
  const written = new Map<string, string[]>();
  let drainedNode: string;

  it('a node is drained without a failed request; the command waits until it is empty', async () => {
    drainedNode = await nodeToDrain();
    await underLoad(async () => {
      const outcome = await command('nodes', 'drain', drainedNode, '--reason', 'new disk', '--timeout', '2m');
      assert.equal(outcome.code, 0, outcome.stderr);
      assert.match(outcome.stdout, /is drained: no copy is left on it/);
    });
    assert.equal((await ledgersByNode()).get(drainedNode), undefined);
    await runs(3);
    const listed = await command('nodes', 'list', '--json');
    const node = (JSON.parse(listed.stdout) as MasterNode[]).find(item => item.networkName === drainedNode)!;
    assert.deepEqual([node.drained, node.copies, node.maintenance!.reason], [true, 0, 'new disk']);
    assert.match(node.maintenance!.by, /^api: .+ \(admin\)$/);
    assert.match((await command('nodes', 'list')).stdout, new RegExp(`${drainedNode} +ready +drained +0`));
    assert.match((await command('status')).stdout, new RegExp(`${drainedNode} +ready, drained`));
    // Again: it is done already.
    assert.equal((await command('nodes', 'drain', drainedNode)).code, 0);
  });

  it('a node that is cordoned keeps what it has, and gets no more', async () => {
    const other = [...(await ledgersByNode()).keys()][0]!;
    const before = (await ledgersByNode()).get(other)!;
    assert.equal((await command('nodes', 'cordon', other)).code, 0);
    assert.equal((await command('nodes', 'undrain', drainedNode)).code, 0);
    await cluster.editSettings(document => {
      document.componentInstances.find(({ id }) => id === 'ledgers')!.instances = 4;
    });
    await runs(4);
    const after = await ledgersByNode();
    assert.deepEqual(after.get(other), before);
    assert.ok((after.get(drainedNode)?.length ?? 0) > 0);
    assert.equal((await command('nodes', 'undrain', other)).code, 0);
    const { stdout } = await command('nodes', 'list', '--json');
    assert.deepEqual(
      (JSON.parse(stdout) as MasterNode[]).map(({ maintenance }) => maintenance),
      [null, null, null],
    );
  });

  it('an instance is restarted without a failed request; the command waits until every copy is another one', async () => {
    await runs(4);
    const before = new Set([...(await ledgersByNode()).values()].flat());
    await underLoad(async () => {
      const outcome = await command('restart', 'ledgers', '--timeout', '2m');
      assert.equal(outcome.code, 0, outcome.stderr);
      assert.match(outcome.stdout, /ledgers was restarted: 4 copies run/);
    });
    const after = [...(await ledgersByNode()).values()].flat();
    assert.equal(after.length, 4);
    assert.deepEqual(
      after.filter(id => before.has(id)),
      [],
    );
  });

  it('nothing is done while reconciliation is paused, and it shows', async () => {
    assert.equal((await command('reconciliation', 'pause', '--reason', 'works')).code, 0);
    await cluster.editSettings(document => {
      document.componentInstances.find(({ id }) => id === 'ledgers')!.instances = 2;
    });
    await until('the plan shows it', async () => {
      const { actions } = (await (await cluster.master('/api/master/plan')).json()) as { actions: unknown[] };
      return actions.length > 0;
    });
    assert.match((await command('status')).stdout, /reconciliation is paused since .* \(works\)/);
    assert.equal([...(await ledgersByNode()).values()].flat().length, 4);
    assert.equal((await command('reconciliation', 'resume')).code, 0);
    await runs(2);
  });

  it('what cannot be is refused, with the exit code of a failure', async () => {
    const unknown = await command('nodes', 'drain', 'nowhere');
    assert.equal(unknown.code, 1);
    assert.match(
      unknown.stderr,
      /HF_NOT_FOUND: there is no node nowhere; the nodes are node-1, node-2, node-3/,
    );
    assert.equal((await command('restart', 'nothing')).code, 1);
    assert.equal((await command('nodes', 'drain', 'node-1', '--deadline', 'soon')).code, 2);
  });
});
