/** A cluster on a machine whose agent runs already: `bin/holdfast bootstrap`. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { MasterStatus } from '#core';
import { freePort, holdfast, projectRoot, until } from '../../support/cluster.ts';
import type { LoneNode } from './lone-node.ts';
import { assertOk, callerOf, send } from './support.ts';

const run = promisify(execFile);

export function bootstrapContract(nodeOf: () => LoneNode): void {
  it('brings a manager and a router to a node, once', async () => {
    const { directory, uri, token } = nodeOf();
    const [masterPort, routerPort] = [await freePort(), await freePort()];
    const settings = {
      clusterName: 'bootstrapped',
      nodeServers: [{ networkName: 'node-1', nodeApiUri: uri }],
      componentPackages: [
        { name: 'hello', version: '1.0.0', packagePath: join(projectRoot, 'build/packages/hello-1.0.0.zip') },
      ],
      componentInstances: [
        { id: 'node-manager', packageName: 'node-manager', settings: { port: masterPort } },
        { id: 'router', packageName: 'router', settings: { port: routerPort } },
        { id: 'hello', packageName: 'hello' },
      ],
      routes: [{ pathPrefix: '/hello', componentInstanceId: 'hello' }],
    };
    await writeFile(join(directory, 'cluster-settings.json'), JSON.stringify(settings));
    const words = ['bootstrap', '--settings', 'cluster-settings.json', '--node', uri];
    const managers = [];
    for (const attempt of [1, 2]) {
      const { stdout } = await run(process.execPath, [holdfast, ...words, '--json'], { cwd: directory });
      const said = JSON.parse(stdout) as { masterUri: string; processId: string };
      assert.equal(said.masterUri, `http://127.0.0.1:${masterPort}`, `attempt ${attempt}`);
      managers.push(said.processId);
    }
    assert.equal(managers[0], managers[1]);
    const master = callerOf(`http://127.0.0.1:${masterPort}`, token);
    const status = assertOk<MasterStatus>(await master('GET', '/api/master'));
    assert.equal(status.clusterName, 'bootstrapped');
    await until('hello answers through the router', async () => {
      const answer = await send(`http://127.0.0.1:${routerPort}`, 'GET', '/hello');
      return answer.status === 200;
    });
  });
}
