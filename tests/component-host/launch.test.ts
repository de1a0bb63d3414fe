import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { parseLaunch, readLaunch } from '#component-host';
import { createFakeSystem } from '#core';

const launch = {
  processId: 'node-1-a',
  hostSecret: 'hunter2',
  nodeName: 'node-1',
  clusterName: 'test',
  clusterSecret: 'hunter3',
  agentSocket: '/run/agent.sock',
  coordination: { kind: 'embedded', socketPath: '/run/coordinator.sock' },
  listenHost: '127.0.0.1',
  firstPort: 5200,
  hostDirectory: '/h',
  dataRoot: '/d',
  orphanGraceMs: 30_000,
  logLevel: 'info',
};

const redis = {
  kind: 'redis',
  urls: ['redis://:hunter4@a'],
  prefix: 'holdfast:{test}:',
  sessionTtlMs: 5_000,
};

describe('component-host launch', () => {
  it('takes a store on this machine or on Redis', () => {
    const onRedis = { ...launch, coordination: redis };
    assert.deepEqual(parseLaunch(onRedis), onRedis);
  });

  it('reads one line that comes in pieces, without waiting for the end of the input', async () => {
    const input = new PassThrough();
    const read = readLaunch(input, createFakeSystem(), 1_000);
    const text = `${JSON.stringify(launch)}\n`;
    input.write(text.slice(0, 50));
    input.write(text.slice(50));
    assert.deepEqual(await read, launch);
  });

  it('reads a line that ends with the input', async () => {
    const input = new PassThrough();
    input.end(JSON.stringify(launch));
    assert.deepEqual(await readLaunch(input, createFakeSystem(), 1_000), launch);
  });

  it('does not wait for ever', async () => {
    const system = createFakeSystem();
    const read = assert.rejects(readLaunch(new PassThrough(), system, 1_000), /within 1000 ms/);
    await system.advance(1_000);
    await read;
  });

  it('stops reading what is too long', async () => {
    const input = new PassThrough();
    const read = assert.rejects(readLaunch(input, createFakeSystem(), 1_000), /too long/);
    input.write(Buffer.alloc(300 * 1024, 'x'));
    await read;
  });

  it('names the fields at fault and never a value', () => {
    for (const document of [
      null,
      [],
      {},
      { ...launch, firstPort: 'hunter2' },
      { ...launch, coordination: null },
      { ...launch, coordination: { ...redis, urls: [] } },
      { ...launch, coordination: { ...redis, urls: ['hunter4'] } },
    ]) {
      assert.throws(
        () => parseLaunch(document),
        (error: Error) => !error.message.includes('hunter') && error.message.includes('launch'),
      );
    }
    assert.throws(() => parseLaunch({ ...launch, dataRoot: '' }), /wrong: dataRoot$/);
  });

  it('does not repeat input that is no JSON', async () => {
    const input = new PassThrough();
    input.end('hunter2\n');
    await assert.rejects(
      readLaunch(input, createFakeSystem(), 1_000),
      /^Error: standard input holds no JSON$/,
    );
  });
});
