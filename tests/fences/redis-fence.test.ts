import assert from 'node:assert/strict';
import { Redis } from 'ioredis';
import { createRedisFence } from '#fences';
import { hasRedis, startRedis, type RedisServer } from '../support/redis-server.ts';
import { skipLoudly } from '../support/skip-loudly.ts';
import { fenceConformance } from './conformance.ts';

describe('Redis fences', () => {
  let server: RedisServer;
  let redis: Redis;
  before(async function () {
    if (!hasRedis()) skipLoudly(this, 'redis-server is not installed');
    server = await startRedis();
    redis = new Redis(server.url);
  });
  after(async () => {
    redis?.disconnect();
    await server?.stop();
  });
  beforeEach(() => redis.flushall());

  fenceConformance('redis', () => server.url);

  it('answers each command in order, bytes and absence included', async () => {
    const fence = createRedisFence(redis, { key: 'fence' });
    await fence.install(1n);
    const answers = await fence.write(1n, [
      ['SET', 'a', 5],
      ['GET', 'missing'],
      ['INCRBY', 'a', 2],
      ['HSET', 'h', 'field', 'line\nbreak "ä"'],
      ['HGETALL', 'h'],
      ['SET', 'bytes', Buffer.from([0, 255])],
    ]);
    assert.deepEqual(answers, ['OK', null, 7, 1, ['field', 'line\nbreak "ä"'], 'OK']);
    assert.deepEqual(await redis.getBuffer('bytes'), Buffer.from([0, 255]));
  });

  it('stops at the first command that fails and says which it was', async () => {
    const fence = createRedisFence(redis, { key: 'fence' });
    await fence.install(1n);
    const writing = fence.write(1n, [
      ['SET', 'a', 'text'],
      ['INCR', 'a'],
      ['SET', 'b', 'never'],
    ]);
    await assert.rejects(writing, { message: /^INCR failed: .*not an integer/, commandIndex: 1 });
    assert.deepEqual(await redis.mget('a', 'b'), ['text', null]);
  });

  it('refuses everybody after Redis has forgotten, until a fence is installed again', async () => {
    const fence = createRedisFence(redis, { key: 'fence' });
    await fence.install(5n);
    await redis.flushall();
    await assert.rejects(fence.write(5n, [['SET', 'a', 1]]), { code: 'HF_FENCED', details: { fence: '0' } });
    await fence.install(6n);
    await fence.write(6n, [['SET', 'a', 1]]);
  });

  it('goes on when Redis has forgotten its scripts', async () => {
    const fence = createRedisFence(redis, { key: 'fence' });
    await fence.install(1n);
    await redis.script('FLUSH');
    assert.deepEqual(await fence.write(1n, [['PING']]), ['PONG']);
  });
});
