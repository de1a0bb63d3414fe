import assert from 'node:assert/strict';
import { parseSettings } from '#core';
import { neededPorts, planUp, uriOf } from '../../cli/up/plan.ts';
import { firstCurl } from '../../cli/up/summary.ts';

function settingsOf(document: Record<string, unknown>) {
  return parseSettings(
    JSON.stringify({
      clusterName: 'test',
      nodeServers: [{ networkName: 'a', nodeApiUri: 'http://127.0.0.1:5101' }],
      ...document,
    }),
  ).settings;
}

describe('the plan of up', () => {
  it('runs the nodes of this machine and leaves the others to theirs', () => {
    const plan = planUp(
      settingsOf({
        nodeServers: [
          { networkName: 'a', nodeApiUri: 'http://127.0.0.1:5101' },
          { networkName: 'b', nodeApiUri: 'http://10.0.0.4:5100' },
          { networkName: 'c', nodeApiUri: 'http://localhost:5102/' },
          { networkName: 'd', nodeApiUri: 'http://[::1]:5103' },
        ],
      }),
    );
    assert.deepEqual(
      plan.nodes.map(node => [node.networkName, node.listen]),
      [
        ['a', { host: '127.0.0.1', port: 5101 }],
        ['c', { host: 'localhost', port: 5102 }],
        ['d', { host: '::1', port: 5103 }],
      ],
    );
  });

  it('refuses settings without a node on this machine', () => {
    const settings = settingsOf({ nodeServers: [{ networkName: 'b', nodeApiUri: 'http://10.0.0.4:5100' }] });
    assert.throws(() => planUp(settings), { code: 'HF_SETTINGS_INVALID' });
  });

  it('needs the default ports unless the settings name others', () => {
    assert.deepEqual(
      neededPorts(planUp(settingsOf({}))).map(({ port }) => port),
      [5101, 7777, 8000],
    );
    const plan = planUp(
      settingsOf({
        componentInstances: [
          { id: 'm', packageName: 'node-manager', settings: { port: 1001, host: '0.0.0.0' } },
          { id: 'r1', packageName: 'router', settings: { port: 1002 } },
          { id: 'r2', packageName: 'router', settings: { port: 1003 } },
        ],
      }),
    );
    assert.deepEqual(
      neededPorts(plan).map(({ port }) => port),
      [5101, 1001, 1002, 1003],
    );
    assert.equal(uriOf(plan.master), 'http://127.0.0.1:1001');
  });

  it('names a first request that the settings can answer', () => {
    const document = {
      componentInstances: [
        { id: 'hi', packageName: 'hello' },
        { id: 'db', packageName: 'sqlite-service' },
      ],
      routes: [
        { pathPrefix: '/hi', componentInstanceId: 'hi' },
        { pathPrefix: '/data', componentInstanceId: 'db' },
      ],
    };
    assert.match(firstCurl('http://r', settingsOf(document))!.join('\n'), /http:\/\/r\/data\/customers/);
    const [hi] = document.routes;
    assert.deepEqual(firstCurl('http://r', settingsOf({ ...document, routes: [hi] })), ['curl http://r/hi']);
    assert.equal(firstCurl('http://r', settingsOf({})), null);
  });
});
