import assert from 'node:assert/strict';
import { createSystem, redisAddress } from '#core';
import { checkCoordinationStore } from '#ownership';
import { judgeRedis } from '../../ownership/store-check.ts';
import { freePort } from '../support/wait.ts';
import { hasRedis, startRedis } from '../support/redis-server.ts';
import { skipLoudly } from '../support/skip-loudly.ts';

const good = {
  redis_version: '7.0.15',
  redis_mode: 'standalone',
  role: 'master',
  maxmemory: '0',
  maxmemory_policy: 'noeviction',
  aof_enabled: '1',
};

describe('whether a Redis is fit to hold who owns what', () => {
  const cases: [
    title: string,
    change: Partial<typeof good>,
    appendfsync: string | null,
    finding: RegExp | null,
  ][] = [
    ['a master that keeps everything', {}, 'everysec', null],
    [
      'one that evicts',
      { maxmemory: '1000000', maxmemory_policy: 'allkeys-lru' },
      null,
      /^problem .*noeviction/,
    ],
    [
      'one that evicts what expires',
      { maxmemory: '1', maxmemory_policy: 'volatile-ttl' },
      null,
      /^problem .*noeviction/,
    ],
    ['one that would evict', { maxmemory_policy: 'allkeys-lru' }, null, /^warning .*noeviction/],
    ['a replica', { role: 'slave' }, null, /^problem .*replica/],
    ['a part of a Redis Cluster', { redis_mode: 'cluster' }, null, /^problem .*Cluster/],
    ['one that is too old', { redis_version: '5.0.14' }, null, /^problem .*6.2 or newer/],
    ['one that is a little too old', { redis_version: '6.0.20' }, null, /^problem .*6.2 or newer/],
    ['one that forgets', { aof_enabled: '0' }, null, /^warning .*appendonly/],
    ['one that syncs when it likes', {}, 'no', /^warning .*appendfsync/],
  ];
  for (const [title, change, appendfsync, finding] of cases) {
    it(`${finding ? 'says what is wrong with' : 'finds nothing against'} ${title}`, () => {
      const { problems, warnings } = judgeRedis({ ...good, ...change }, appendfsync);
      const all = [...problems.map(text => `problem ${text}`), ...warnings.map(text => `warning ${text}`)];
      assert.equal(all.length, finding ? 1 : 0, all.join('\n'));
      if (finding) assert.match(all[0]!, finding);
    });
  }

  it('is asked of the servers themselves, with the right password', async function () {
    if (!hasRedis()) skipLoudly(this, 'redis-server is not installed');
    const password = 'hunter2';
    await using stack = new AsyncDisposableStack();
    const start = async (...parameters: string[]) => {
      const server = await startRedis({ persistence: 'always', parameters });
      stack.defer(() => server.stop());
      return server;
    };
    const fine = await start('--requirepass', password);
    const evicts = await start('--maxmemory', '50mb', '--maxmemory-policy', 'allkeys-lru');
    const nobody = await freePort();
    const urls = [
      `redis://:${password}@127.0.0.1:${fine.port}`,
      evicts.url,
      `redis://:wrong-${password}@127.0.0.1:${fine.port}/1`,
      `redis://127.0.0.1:${nobody}`,
    ];
    const address = redisAddress({ clusterName: 'x', urls, sessionTtlMs: 1_000 });
    const found = await checkCoordinationStore(address, createSystem());
    assert.deepEqual(found[0], {
      endpoint: `127.0.0.1:${fine.port}/0`,
      unreachable: null,
      problems: [],
      warnings: [],
    });
    assert.match(found[1]!.problems.join(), new RegExp(`127.0.0.1:${evicts.port}/0: .*noeviction`));
    assert.match(found[2]!.unreachable!, /WRONGPASS|password/);
    assert.match(found[3]!.unreachable!, new RegExp(`127.0.0.1:${nobody}/0: .*ECONNREFUSED`));
    assert(!JSON.stringify(found).includes(password));
  });
});
