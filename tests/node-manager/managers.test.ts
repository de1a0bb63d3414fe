/** Several managers on one store and the same nodes: who acts, who takes over, and what a manager does that leads no more. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createMasterClient } from '#client';
import { HoldfastError, type ProcessInfo } from '#core';
import { createPausableSystem } from '../support/pausable-system.ts';
import { zipOf } from './fake-node.ts';
import {
  copiesOn,
  copyCounts,
  createCluster,
  secret,
  until,
  type Cluster,
  type RunningManager,
} from './running-manager.ts';

const app = (more: object = {}) => ({ id: 'one', packageName: 'app', instances: 1, ...more });
const standby = { processId: 'manager-2', withFile: false, leaseTtlMs: 500 };

describe('several managers', function () {
  this.timeout(30_000);
  let cluster: Cluster;
  afterEach(() => cluster.stop());

  async function clusterWith(nodeCount: number, instances: object[]): Promise<void> {
    cluster = await createCluster(nodeCount, { componentInstances: instances as never });
    await fetch(`${cluster.nodes[0]!.uri()}/api/node/packages`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/zip' },
      body: new Uint8Array(zipOf('app', '1.0.0')),
    });
  }
  const settled = (counts: number[]) =>
    until(
      () => copyCounts(cluster, 'one'),
      seen => JSON.stringify(seen) === JSON.stringify(counts),
    );
  const leads = ({ client }: RunningManager) =>
    until(
      () => client.status(),
      status => status.isLeader,
    );
  const ceases = ({ client }: RunningManager) =>
    until(
      () => client.status(),
      status => !status.isLeader,
    );
  /** Fences of all marks that the node saw, in their order. */
  const fencesAt = (index: number) =>
    cluster.nodes[index]!.marks.flatMap(mark => (mark === undefined ? [] : [Number(mark.split(':')[2])]));

  it('one stands by, answers reads, refuses mutations and says who leads; all know each other', async () => {
    await clusterWith(2, [app({ instances: 2 })]);
    const first = await cluster.start();
    await settled([1, 1]);
    const second = await cluster.start(standby);
    const response = await fetch(`${second.manager.uri()}/api/master/sync`, {
      method: 'POST',
      headers: { authorization: `Bearer ${secret}` },
    });
    const error = (await response.json()) as { code: string; details: object };
    assert.equal(error.code, 'HF_NOT_LEADER');
    assert.deepEqual(error.details, { leader: first.manager.uri(), processId: 'manager-1' });
    const status = await until(
      () => second.client.status(),
      seen => seen.instances[0]?.running === 2 && seen.managers.length === 2,
    );
    assert.deepEqual([status.isLeader, status.leader?.processId], [false, 'manager-1']);
    assert.deepEqual(status.managers, [
      { processId: 'manager-1', nodeName: 'node-1', address: first.manager.uri(), leads: true },
      { processId: 'manager-2', nodeName: 'node-1', address: second.manager.uri(), leads: false },
    ]);
  });

  it('a client of one that stands by is led to the leader, and goes on there', async () => {
    await clusterWith(1, [app()]);
    const first = await cluster.start();
    const second = await cluster.start(standby);
    const client = createMasterClient({ uri: second.manager.uri()!, token: secret });
    await client.restart('one');
    assert.equal(client.uri, first.manager.uri());
    await first.stop();
    // Away: it begins again where it began.
    assert.equal((await client.status()).clusterName, 'test');
    assert.equal(client.uri, second.manager.uri());
  });

  it('the next leads when the leader ends, with a higher fence that the nodes know before anything is done', async () => {
    await clusterWith(2, [app({ instances: 2 })]);
    const first = await cluster.start();
    await settled([1, 1]);
    const second = await cluster.start(standby);
    await first.stop();
    await leads(second);
    const before = Math.max(...fencesAt(0).slice(0, 1));
    await until(
      () => [0, 1].map(index => fencesAt(index).at(-1)!),
      fences => fences.every(fence => fence > before) && fences[0] === fences[1],
    );
    cluster.nodes[0]!.crash(cluster.nodes[0]!.processes[0]!.processId);
    await settled([1, 1]);
    for (const index of [0, 1]) {
      const fences = fencesAt(index);
      assert.deepEqual(
        fences,
        fences.toSorted((a, b) => a - b),
      );
    }
  });

  it('steps down when a node has seen a newer leader, and acts again with a higher fence', async () => {
    await clusterWith(1, [app()]);
    const manager = await cluster.start({ leaseTtlMs: 500 });
    await settled([1]);
    const [node] = cluster.nodes;
    const old = node!.marks.at(-1);
    node!.onMutation = () => {
      if (node!.marks.at(-1) === old) throw new HoldfastError('HF_LEADER_STALE', 'a newer leader');
    };
    node!.crash(node!.processes[0]!.processId);
    await settled([1]);
    assert.notEqual(node!.marks.at(-1), old);
    await leads(manager);
  });

  it('does not act while the store is away, and goes on when it is back', async () => {
    await clusterWith(1, [app()]);
    const manager = await cluster.start({ leaseTtlMs: 500 });
    await settled([1]);
    cluster.coordination.fail(true);
    await ceases(manager);
    cluster.nodes[0]!.crash(cluster.nodes[0]!.processes[0]!.processId);
    await assert.rejects(manager.client.sync(), { code: 'HF_NOT_LEADER' });
    assert.deepEqual(copiesOn(cluster, 'one')['node-1'], []);
    cluster.coordination.fail(false);
    await settled([1]);
  });

  it('a leader that is cut off from the store only stops acting by its own deadline; the other carries on', async () => {
    await clusterWith(1, [app()]);
    const first = await cluster.start({ leaseTtlMs: 500 });
    await settled([1]);
    const second = await cluster.start(standby);
    first.cutFromStore(true);
    await leads(second);
    await ceases(first);
    const [node] = cluster.nodes;
    const after = await until(
      () => fencesAt(0).at(-1)!,
      fence => fence > fencesAt(0)[0]!,
    );
    node!.crash(node!.processes[0]!.processId);
    await settled([1]);
    await assert.rejects(first.client.restart('one'), { code: 'HF_NOT_LEADER' });
    assert.equal(fencesAt(0).at(-1), after);
    first.cutFromStore(false);
    await until(
      () => first.client.status(),
      status => status.leader?.processId === 'manager-2',
    );
  });

  it('a leader that was frozen does nothing when it wakes', async () => {
    await clusterWith(1, [app()]);
    const system = createPausableSystem();
    const first = await cluster.start({ leaseTtlMs: 500, system });
    await settled([1]);
    const second = await cluster.start(standby);
    system.pause();
    await leads(second);
    const newer = await until(
      () => fencesAt(0).at(-1)!,
      fence => fence > fencesAt(0)[0]!,
    );
    system.resume();
    await ceases(first);
    cluster.nodes[0]!.crash(cluster.nodes[0]!.processes[0]!.processId);
    await settled([1]);
    assert.equal(fencesAt(0).at(-1), newer);
  });

  it('what was asked of a leader just before it vanished is done by the next', async () => {
    await clusterWith(1, [app()]);
    const first = await cluster.start({ leaseTtlMs: 500 });
    await settled([1]);
    const second = await cluster.start(standby);
    const { processId } = cluster.nodes[0]!.processes[0]!;
    // The node takes nothing from the first one any more, so that all of it is left to the second.
    const old = cluster.nodes[0]!.marks.at(-1);
    cluster.nodes[0]!.onMutation = () => {
      if (cluster.nodes[0]!.marks.at(-1) === old) throw new HoldfastError('HF_NODE_UNREACHABLE', 'lost');
    };
    await first.client.restart('one');
    const { text } = await first.client.settings();
    const document = JSON.parse(text) as { componentInstances: object[] };
    document.componentInstances.push(app({ id: 'two' }));
    await first.client.putSettings(JSON.stringify(document));
    first.cutFromStore(true);
    await leads(second);
    await until(
      () => cluster.nodes[0]!.processes,
      processes =>
        processes.length === 2 &&
        processes.every(item => item.processId !== processId) &&
        processes.some(item => item.settingsId!.startsWith('two/')),
    );
  });

  it('a file that is edited beside a manager that stands by counts, and gets what the leader was told', async () => {
    await clusterWith(1, [app()]);
    const first = await cluster.start({ leaseTtlMs: 500 });
    await settled([1]);
    const second = await cluster.start(standby);
    first.cutFromStore(true);
    await leads(second);
    first.cutFromStore(false);
    await ceases(first);
    // Edited where the other one stands by.
    const document = { ...cluster.document, componentInstances: [app({ instances: 2 })] };
    await cluster.replaceFile(JSON.stringify(document));
    await settled([2]);
    assert.equal((await second.client.status()).isLeader, true);
    // Changed by the API of the leader.
    await second.client.putSettings(JSON.stringify({ ...document, componentInstances: [app()] }));
    await settled([1]);
    await until(
      () => cluster.readFile(),
      text => text === JSON.stringify({ ...document, componentInstances: [app()] }),
    );
    // An older text that comes back is an edit like any other.
    await writeFile(cluster.settingsFile, JSON.stringify(document));
    await settled([2]);
  });

  it('a leader whose node is drained leaves the lead to the other one, which stops it and starts a further one', async () => {
    cluster = await createCluster(3, { managers: 2 });
    for (const node of cluster.nodes) {
      await fetch(`${node.uri()}/api/node/packages`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/zip' },
        body: new Uint8Array(zipOf('node-manager', '1.0.0')),
      });
    }
    const [one, two, three] = cluster.nodes;
    // What the nodes run, as far as the plan can see: the managers of this test.
    one!.processes.push(managerProcess('manager-1', 'node-manager/0/000000000000'));
    // Not one that the plan would have started otherwise, and would renew.
    two!.processes.push(managerProcess('manager-2', 'by-hand/1/000000000000'));
    const second = await cluster.start({ processId: 'manager-2', leaseTtlMs: 5_000 });
    await leads(second);
    const first = await cluster.start({ processId: 'manager-1', withFile: false, leaseTtlMs: 5_000 });
    await until(
      () => second.client.status(),
      status => status.managers.length === 2,
    );
    await second.client.drain('node-2');
    await leads(first);
    await until(
      () => [two!, three!].map(node => node.processes.map(({ packageName }) => packageName)),
      ([left, started]) => left!.length === 0 && started!.join() === 'node-manager',
    );
    assert.deepEqual(
      one!.processes.map(({ processId }) => processId),
      ['manager-1'],
    );
    await ceases(second);
  });
});

function managerProcess(processId: string, settingsId: string): ProcessInfo {
  const packages = { packageName: 'node-manager', packageVersion: '1.0.0' };
  return {
    ...packages,
    processId,
    settingsId,
    pid: 1,
    component: { ...packages, instanceId: 'node-manager', state: 'Started' },
    state: 'Running',
    hostUri: null,
    startedAt: '2026-01-01T00:00:00.000Z',
    restarts: 0,
    host: { state: 'Started', health: { ready: true }, ownedKeys: 0, errors: [], publisher: null },
    lastExit: null,
  };
}
