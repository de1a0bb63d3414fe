import assert from 'node:assert/strict';
import { createFakeSystem } from '#core';
import { createKeyOperations, type KeyOperations } from '../../node-manager/keys/key-operations.ts';
import { createPool, pool, type MadeUpPool } from './made-up-pool.ts';

describe('operations on keys', () => {
  let made: MadeUpPool;
  let keys: KeyOperations;
  const name = { key: '/db/a', instance: null };

  beforeEach(async () => {
    made = createPool(createFakeSystem());
    keys = createKeyOperations({
      directory: made.coordination.directory,
      host: address => made.host(address),
      routes: () => [
        { pathPrefix: '/', componentInstanceId: 'others', resourceKey: { from: 'path', segments: null } },
        { pathPrefix: '/db', componentInstanceId: pool, resourceKey: { from: 'path', segments: 2 } },
      ],
      isInstance: id => id === pool,
    });
    await made.join('one');
  });

  const owner = async () => (await made.coordination.directory.list({ pool })).claims[0]?.processId ?? null;

  it('moves a key to a named process, under a higher fence', async () => {
    const [before] = await made.claim('/db/a');
    await made.join('two');
    const { moved, resource } = await keys.move(name, 'two');
    assert(moved);
    assert.equal(resource!.owner.processId, 'two');
    assert(BigInt(resource!.fence) > before!.fence);
  });

  it('moves a key to the host with the least keys of a node, or of all', async () => {
    await made.claim('/db/a');
    await made.join('two');
    assert.equal((await keys.move(name, 'node-of-two')).resource!.owner.processId, 'two');
    assert.equal((await keys.move(name, null)).resource!.owner.processId, 'one');
  });

  it('leaves a key where it is already', async () => {
    await made.claim('/db/a');
    assert.equal((await keys.move(name, 'one')).moved, false);
    assert.deepEqual(made.asked, []);
  });

  it('says who may not take it', async () => {
    await made.claim('/db/a');
    await assert.rejects(keys.move(name, 'nobody'), { code: 'HF_NOT_FOUND' });
    const two = await made.join('two');
    await made.coordination.directory.updateSession(two, { draining: true });
    await assert.rejects(keys.move(name, 'two'), { code: 'HF_WRONG_STATE' });
    await assert.rejects(keys.move({ key: '/db/b', instance: null }, null), { code: 'HF_NOT_FOUND' });
    assert.equal(await owner(), 'one');
  });

  it('tells when the owner does not answer, and moves nothing', async () => {
    await made.claim('/db/a');
    await made.join('two');
    made.unreachable = true;
    await assert.rejects(keys.move(name, 'two'), { code: 'HF_NODE_UNREACHABLE' });
    assert.equal(await owner(), 'one');
  });

  it('releases a key, so that nobody owns it until somebody asks', async () => {
    await made.claim('/db/a');
    assert.deepEqual(await keys.release(name), { released: true });
    assert.equal(await owner(), null);
  });

  it('pauses a key and resumes it', async () => {
    await made.claim('/db/a');
    assert.deepEqual(await keys.pause(name), { key: '/db/a', instanceId: pool, paused: true });
    assert.equal(await owner(), null);
    assert.deepEqual(await made.claim('/db/a'), []);
    assert.equal((await keys.pause(name)).paused, true, 'again');
    await assert.rejects(keys.release(name), {
      code: 'HF_NOT_FOUND',
      details: { instanceId: pool, paused: true },
    });
    assert.equal((await keys.resume(name)).wasPaused, true);
    assert.equal((await keys.resume(name)).wasPaused, false);
    assert.equal((await made.claim('/db/a')).length, 1);
  });

  it('pauses a key that nobody owns in the pool that its route leads to', async () => {
    assert.equal((await keys.pause({ key: '/db/never', instance: null })).instanceId, pool);
    assert.deepEqual(await made.claim('/db/never'), []);
  });

  it('stays paused when the owner does not answer, and can be asked again', async () => {
    await made.claim('/db/a');
    made.unreachable = true;
    await assert.rejects(keys.pause(name), { code: 'HF_NODE_UNREACHABLE' });
    made.unreachable = false;
    await keys.pause(name);
    assert.equal(await owner(), null);
  });

  it('mean the same key in every spelling, and refuse what can be none', async () => {
    await made.claim('/db/a%2Fb');
    assert.equal((await keys.show({ key: '/db//x/../a%2fb/', instance: null })).key, '/db/a%2Fb');
    assert.equal((await keys.pause({ key: '/db/%61', instance: null })).key, '/db/a');
    assert.deepEqual(await made.claim('/db/a'), []);
    assert.equal((await keys.resume({ key: '/db/./a', instance: null })).wasPaused, true);
    for (const key of ['db/a', '', '/db/%', `/${'x'.repeat(1_024)}`, '/db#tenant=a b']) {
      await assert.rejects(keys.pause({ key, instance: pool }), { code: 'HF_KEY_INVALID' }, key);
      await assert.rejects(keys.show({ key, instance: null }), { code: 'HF_KEY_INVALID' }, key);
    }
  });

  it('pauses nothing in an instance that is not there, but resumes what was paused in one that has gone', async () => {
    const gone = { key: '/db/a', instance: 'gone' };
    await assert.rejects(keys.pause(gone), { code: 'HF_NOT_FOUND' });
    assert.equal((await keys.resume(gone)).wasPaused, false);
  });
});
