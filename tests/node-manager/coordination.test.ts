/** What the manager does about the coordination store: it hands it to nodes that have none, and keeps the settings to it. */
import assert from 'node:assert/strict';
import { HoldfastError, redisAddress } from '#core';
import { zipOf } from './fake-node.ts';
import { copyCounts, createCluster, until, type Cluster } from './running-manager.ts';

const password = 'hunter2';
const address = redisAddress({
  clusterName: 'test',
  urls: [`redis://:${password}@10.0.0.5`],
  sessionTtlMs: 5_000,
});
const coordination = { kind: 'redis' as const, urls: [{ secretRef: 'redis-url' }] };

describe('node manager: the coordination store', () => {
  let cluster: Cluster;
  beforeEach(async () => {
    cluster = await createCluster(2, { coordination });
    cluster.address = address;
  });
  afterEach(() => cluster.stop());

  it('is handed to every node before anything is started there', async () => {
    for (const node of cluster.nodes) {
      node.onStart = () => assert.notEqual(node.stores.length, 0, 'something was started on another store');
    }
    const { client } = await cluster.start();
    await client.uploadPackage(zipOf('web', '1.0.0'), { makeCurrent: true });
    const { text } = await client.settings();
    const document = JSON.parse(text) as Record<string, unknown>;
    document.componentInstances = [{ id: 'web', packageName: 'web', instances: 'perNode' }];
    await client.putSettings(JSON.stringify(document));
    await until(
      () => copyCounts(cluster, 'web'),
      counts => counts.every(count => count === 1),
    );
    for (const node of cluster.nodes) assert.deepEqual(node.stores[0], address);
    assert(cluster.nodes.every(node => node.marks.every(mark => mark !== undefined)));
  });

  it('keeps a node out that belongs to another one, and says so', async () => {
    const [first, second] = cluster.nodes;
    second!.onStore = () => {
      throw new HoldfastError('HF_WRONG_STATE', 'it belongs to another store');
    };
    const { client } = await cluster.start();
    const status = await until(
      () => client.status(),
      ({ nodes }) => nodes.some(node => node.state === 'ready') && nodes.some(node => node.problem !== null),
    );
    assert.deepEqual(
      status.nodes.map(({ networkName, state }) => [networkName, state]),
      [
        [first!.name, 'ready'],
        [second!.name, 'unknown'],
      ],
    );
    assert.match(status.nodes[1]!.problem!, /HF_WRONG_STATE: it belongs to another store/);
    assert(!JSON.stringify(status).includes(password));
  });

  it('is handed again to a node that comes back', async () => {
    await cluster.start();
    const [node] = cluster.nodes;
    await until(
      () => node!.stores.length,
      count => count > 0,
    );
    await node!.close();
    node!.stores.length = 0;
    await node!.listen();
    await until(
      () => node!.stores.length,
      count => count > 0,
    );
  });

  it('cannot be changed by settings: they are refused with the path, and those before hold', async () => {
    const { client } = await cluster.start();
    const before = await client.settings();
    const document = JSON.parse(before.text) as Record<string, unknown>;
    for (const [path, change] of [
      ['$.coordination.kind', { coordination: { kind: 'embedded' } }],
      ['$.coordination.urls', { coordination: { kind: 'redis', urls: ['redis://10.0.0.6'] } }],
      ['$.clusterName', { clusterName: 'other' }],
      ['$.sessionTtlMs', { sessionTtlMs: 5_001 }],
    ] as const) {
      await assert.rejects(
        client.putSettings(JSON.stringify({ ...document, ...change })),
        (error: HoldfastError) => {
          assert.equal(error.statusCode, 422);
          assert.deepEqual(
            (error.details.problems as { path: string }[]).map(problem => problem.path),
            [path],
          );
          assert(!JSON.stringify([error.message, error.details]).includes(password));
          return true;
        },
      );
    }
    assert.deepEqual(await client.settings(), before);
    await client.putSettings(JSON.stringify({ ...document, sessionTtlMs: 4_000 }));
  });
});
