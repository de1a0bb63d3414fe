/** What the settings file promises, by editing it while the cluster runs; and a node that joins. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort, until, type Cluster, type Document } from '../../support/cluster.ts';
import { startNode, stopNode } from './lone-node.ts';
import { assertOk, assertRefused, callerOf, echoPackage, firstProblem, send } from './support.ts';

export function settingsContract(clusterOf: () => Cluster): void {
  let cluster: Cluster;
  let ports: [number, number];
  let joined: ChildProcess | undefined;
  before(() => {
    cluster = clusterOf();
  });
  after(() => stopNode(joined));

  const nodesOf = async (id: string) =>
    (await cluster.status()).instances
      .find(item => item.id === id)
      ?.nodes.toSorted()
      .join() ?? '';
  const settle = (id: string, nodes: string) =>
    until(`${id} runs on ${nodes}`, async () => (await nodesOf(id)) === nodes);

  it('reads packages relative to itself, places by labels, and hands out ports, environment and secrets', async () => {
    await mkdir(join(cluster.directory, 'zips'));
    const zip = echoPackage('1.0.0', { packageName: 'contract-relative' });
    await writeFile(join(cluster.directory, 'zips/relative.zip'), zip);
    await mkdir(join(cluster.stateRoot, 'secrets'), { recursive: true });
    await writeFile(join(cluster.stateRoot, 'secrets/contract'), 'from-the-file\n');
    ports = [await freePort(), await freePort()];
    const packageName = 'contract-relative';
    await cluster.editSettings(document => {
      document.componentPackages.push({
        name: packageName,
        version: '1.0.0',
        packagePath: 'zips/relative.zip',
      });
      document.nodeServers.forEach((node, index) => (node.labels = { zone: 'ab'[index] }));
      document.componentInstances.push(
        { id: 'everywhere', packageName, instances: 'perNode' },
        { id: 'labelled', packageName, constraints: { labels: { zone: 'b' } } },
        { id: 'spread', packageName, instances: 2, constraints: { spread: 'zone' } },
        { id: 'apart', packageName, constraints: { antiAffinity: ['labelled'] } },
        { id: 'ported', packageName, instances: 2, ports },
        { id: 'secretive', packageName, env: { SECRET: { secretRef: 'contract' } } },
      );
      document.routes.push({ pathPrefix: '/secretive', componentInstanceId: 'secretive' });
    });
    await settle('everywhere', 'node-1,node-2');
    await settle('labelled', 'node-2');
    await settle('spread', 'node-1,node-2');
    await settle('apart', 'node-1');
    await until(
      'both ported run',
      async () => (await cluster.status()).instances.find(({ id }) => id === 'ported')?.running === 2,
    );
    const hosts = (await cluster.processes()).filter(item => item.component?.instanceId === 'ported');
    const given = await Promise.all(
      hosts.map(async ({ hostUri }) => {
        const answer = await callerOf(hostUri!, cluster.token)('GET', '/api/componentHost/configuration');
        return assertOk<{ settings: { port: number } }>(answer).settings.port;
      }),
    );
    assert.deepEqual(new Set(given), new Set(ports));
    const secretive = await until('the new route answers', async () => {
      const answer = await send(cluster.routerUris[0]!, 'GET', '/secretive/x');
      return answer.status === 200 && answer;
    });
    assert.equal((secretive.json as { secret: string }).secret, 'from-the-file');
  });

  it('is read with comments, and with the misspelling of old, which it warns of', async () => {
    const text = await readFile(cluster.settingsPath, 'utf8');
    const edited = text.replace('{', '{ // ours\n  "componnetHostPackageName": "component-host",');
    await cluster.writeSettings(edited);
    await until('the warning is shown', async () =>
      (await cluster.status()).warnings.some(warning => warning.includes('componnetHostPackageName')),
    );
    assert.equal((await cluster.status()).settingsError, null);
    await cluster.writeSettings(text);
    await until('it is gone', async () => (await cluster.status()).warnings.length === 0);
  });

  it('changes nothing while it is wrong, and says where, within a second', async () => {
    const text = await readFile(cluster.settingsPath, 'utf8');
    const document = JSON.parse(text) as Document;
    document.componentInstances[1]!.packageName = 'nobody-has-this';
    await cluster.writeSettings(JSON.stringify(document));
    const error = await until(
      'the error is shown',
      async () => (await cluster.status()).settingsError,
      1_500,
    );
    assert.deepEqual(
      (error.problems as { path: string; value: unknown }[]).map(({ path, value }) => [path, value]),
      [['$.componentInstances[1].packageName', 'nobody-has-this']],
    );
    assert.equal(await nodesOf('labelled'), 'node-2');
    await cluster.writeSettings(text);
    await until('the error is gone', async () => (await cluster.status()).settingsError === null);
  });

  it('is refused when an instance’s settings do not fit its package, and nothing is stopped for it', async () => {
    const master = callerOf(cluster.masterUri, cluster.token);
    const text = await readFile(cluster.settingsPath, 'utf8');
    const document = JSON.parse(text) as Document;
    const index = document.componentInstances.findIndex(({ id }) => id === 'labelled');
    const hosts = (await cluster.processes()).map(item => item.processId).sort();
    document.componentInstances[index]!.settings = { greeting: 7 };
    const refused = await master('PUT', '/api/master/settings', { body: document });
    assertRefused(refused, 422, 'HF_SETTINGS_INVALID');
    const problem = {
      path: `$.componentInstances[${index}].settings.greeting`,
      value: 7,
      expected: 'string',
    };
    assert.deepEqual(firstProblem(refused), problem);
    await cluster.writeSettings(JSON.stringify(document));
    const error = await until('the error is shown', async () => (await cluster.status()).settingsError);
    assert.deepEqual(error.problems, [problem]);
    await cluster.writeSettings(text);
    await until('the error is gone', async () => (await cluster.status()).settingsError === null);
    assert.deepEqual((await cluster.processes()).map(item => item.processId).sort(), hosts);
  });

  it('lets a node join that was started by hand', async () => {
    const listen = `127.0.0.1:${await freePort()}`;
    const data = join(cluster.directory, 'node-3'); // the token is in the nearest .holdfast above
    joined = await startNode(['--name', 'node-3', '--listen', listen, '--data', data], cluster.directory);
    await cluster.editSettings(document => {
      document.nodeServers.push({ networkName: 'node-3', nodeApiUri: `http://${listen}` });
    });
    await settle('everywhere', 'node-1,node-2,node-3');
    const answer = await callerOf(`http://${listen}`, cluster.token)('GET', '/api/node/processes');
    assert.equal(answer.status, 200);
  });

  it('takes away what is removed from it', async () => {
    await cluster.editSettings(document => {
      document.nodeServers = document.nodeServers.filter(node => node.networkName !== 'node-3');
      document.componentInstances = document.componentInstances.filter(({ id }) => id !== 'spread');
    });
    await settle('everywhere', 'node-1,node-2');
    await until('no copy of it is left', async () =>
      (await cluster.processes()).every(item => item.component?.instanceId !== 'spread'),
    );
    assert.equal(await nodesOf('spread'), '');
  });
}
