/** What is planned, on a real cluster: a single copy is restarted without a gap, a new node gets its share, a second manager takes over. */
import assert from 'node:assert/strict';
import { createMasterClient } from '#client';
import type { MasterStatus } from '#core';
import { startCluster, type Cluster } from '../support/cluster.ts';
import { until } from '../support/wait.ts';

describe('planning on a real cluster', function () {
  this.timeout(180_000);
  let cluster: Cluster;
  before(async () => {
    cluster = await startCluster({
      nodes: 3,
      edit(document) {
        document.managers = 2;
        document.componentInstances = document.componentInstances.filter(({ id }) => id !== 'databases');
        document.componentInstances.push({ id: 'greeter', packageName: 'hello', instances: 1 });
        document.routes = [{ pathPrefix: '/hello', componentInstanceId: 'greeter' }];
      },
    });
  });
  after(() => cluster.dispose());
  const client = () => createMasterClient({ uri: cluster.masterUri, token: cluster.token });
  const seen = (what: string, holds: (status: MasterStatus) => boolean) =>
    until(
      what,
      async () => {
        const status = await client().status();
        return holds(status) && status;
      },
      60_000,
    );
  const copies = async () =>
    (await cluster.processes()).filter(item => item.settingsId?.startsWith('greeter/'));

  it('starts a second manager on another node', async () => {
    const { managers } = await seen('two managers', status => status.managers.length === 2);
    assert.equal(new Set(managers.map(({ nodeName }) => nodeName)).size, 2);
    assert.equal(managers.filter(({ leads }) => leads).length, 1);
  });

  it('restarts a single copy without a failed request', async () => {
    await seen('it runs', ({ instances }) =>
      instances.some(({ id, running }) => id === 'greeter' && running === 1),
    );
    const [before] = await copies();
    let asked = 0;
    const failed: number[] = [];
    let over = false;
    const asking = (async () => {
      while (!over) {
        const response = await fetch(`${cluster.routerUris[0]}/hello/a`);
        await response.text();
        asked++;
        if (response.status !== 200) failed.push(response.status);
      }
    })();
    await client().restart('greeter');
    try {
      await until('only the new copy is left', async () => {
        const [now, ...more] = await copies();
        return more.length === 0 && now !== undefined && now.processId !== before!.processId;
      });
    } finally {
      over = true;
    }
    await asking;
    assert.deepEqual(failed, [], `of ${asked}`);
  });

  it('explains where it is, and where another copy would go', async () => {
    const explained = await client().explain('greeter');
    assert.deepEqual(
      explained.slots.map(({ copies }) => copies.map(({ decision }) => decision)),
      [['stays']],
    );
    assert.deepEqual(
      explained.nodes.map(({ obstacle }) => obstacle),
      [null, null, null],
    );
    const [best] = explained.nodes;
    await cluster.editSettings(document => {
      document.componentInstances.find(({ id }) => id === 'greeter')!.instances = 2;
    });
    const { instances } = await seen('two run', status =>
      status.instances.some(({ id, running }) => id === 'greeter' && running === 2),
    );
    assert.ok(instances.find(({ id }) => id === 'greeter')!.nodes.includes(best!.node));
    await assert.rejects(client().explain('nobody'), /there is no instance nobody/);
  });
});
