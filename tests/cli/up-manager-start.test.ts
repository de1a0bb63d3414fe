import assert from 'node:assert/strict';
import { parseSettings } from '#core';
import { managerRequest } from '#core';

const requestOf = (document: Record<string, unknown>, networkIp = '127.0.0.1') =>
  managerRequest(
    parseSettings(
      JSON.stringify({
        clusterName: 'test',
        nodeServers: [{ networkName: 'a', nodeApiUri: 'http://127.0.0.1:5101' }],
        ...document,
      }),
    ).settings,
    '/here/cluster-settings.json',
    networkIp,
  );

describe('the request that starts the node manager', () => {
  it('asks for what the settings declare', () => {
    const restart = { maxAttempts: 50, windowMs: 30_000, backoffMs: 100, backoffMaxMs: 1_000 };
    assert.deepEqual(
      requestOf({
        sessionTtlMs: 1_500,
        componentInstances: [
          {
            id: 'node-manager',
            packageName: 'node-manager',
            settings: { port: 7001, deadAfterMs: 2_500 },
            resources: { memoryMb: 128 },
            env: { TZ: 'UTC' },
            restart,
          },
        ],
      }),
      {
        instanceId: 'node-manager',
        settings: {
          settingsFile: '/here/cluster-settings.json',
          host: '127.0.0.1',
          port: 7001,
          deadAfterMs: 2_500,
        },
        env: { TZ: 'UTC' },
        restart,
        memoryMb: 128,
        sessionTtlMs: 1_500,
      },
    );
  });

  it('asks for the usual when they say nothing of it, and to be started again for ever', () => {
    assert.deepEqual(requestOf({}), {
      instanceId: 'node-manager',
      settings: { settingsFile: '/here/cluster-settings.json', host: '127.0.0.1', port: 7777 },
      restart: { maxAttempts: 1_000, windowMs: 60_000, backoffMs: 200, backoffMaxMs: 10_000 },
      sessionTtlMs: 5_000,
    });
  });

  it('lets one of several managers listen where others reach its node, unless the settings say where', () => {
    const hostOf = (document: Record<string, unknown>, networkIp?: string) =>
      requestOf(document, networkIp).settings!.host;
    const declared = [{ id: 'm', packageName: 'node-manager', settings: { host: '0.0.0.0' } }];
    assert.equal(hostOf({}, '10.0.0.4'), '127.0.0.1');
    assert.equal(hostOf({ managers: 2 }, '10.0.0.4'), '10.0.0.4');
    assert.equal(hostOf({ managers: 2 }, '[fd00::4]'), 'fd00::4');
    assert.equal(hostOf({ managers: 2 }), '127.0.0.1');
    assert.equal(hostOf({ managers: 2, componentInstances: declared }, '10.0.0.4'), '0.0.0.0');
  });
});
