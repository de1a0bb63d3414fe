import assert from 'node:assert/strict';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystem, type LeaseService } from '#core';
import { openEmbeddedLeases, REBOOT_MARGIN, type LeaseStore } from '#leases';
import { leaseConformance } from './conformance.ts';

const system = createSystem();

describe('embedded leases', () => {
  let directory: string;
  let file: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hf-leases-'));
    file = join(directory, 'leases.sqlite');
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  leaseConformance(async () => {
    let stores: LeaseStore[] = [];
    const open = async () => {
      stores = [await openEmbeddedLeases({ file, system }), await openEmbeddedLeases({ file, system })];
    };
    const close = () => Promise.all(stores.map(store => store.close()));
    await open();
    const client = (index: number): LeaseService => ({
      tryAcquire: (...args) => stores[index]!.tryAcquire(...args),
      renew: (...args) => stores[index]!.renew(...args),
      release: (...args) => stores[index]!.release(...args),
      inspect: (...args) => stores[index]!.inspect(...args),
    });
    return {
      leases: client(0),
      other: client(1),
      async restart() {
        await close();
        await open();
      },
      async stop() {
        await close();
      },
    };
  });

  it('ends every lease when the machine was started anew, and jumps over fences that may be lost', async () => {
    const before = await openEmbeddedLeases({ file, system, bootId: 'boot-1' });
    const first = await before.tryAcquire('a', 'one', 60_000);
    await before.close();
    const after = await openEmbeddedLeases({ file, system, bootId: 'boot-2' });
    try {
      assert.equal(await after.inspect('a'), null);
      const second = await after.tryAcquire('a', 'two', 60_000);
      assert(second.acquired && first.acquired && second.fence > first.fence + REBOOT_MARGIN);
    } finally {
      await after.close();
    }
  });

  it('keeps its file to its user', async () => {
    await (await openEmbeddedLeases({ file, system })).close();
    assert.equal((await stat(file)).mode & 0o777, 0o600);
  });

  it('says what to do when the file cannot be opened', async () => {
    await assert.rejects(openEmbeddedLeases({ file: join(file, 'no', 'folder'), system }), {
      code: 'HF_STATE_UNUSABLE',
      message: /Make its folder writable/,
    });
  });

  it('rejects calls after it was closed', async () => {
    const store = await openEmbeddedLeases({ file, system });
    await store.close();
    await store.close();
    await assert.rejects(store.inspect('a'), { code: 'HF_COORDINATION_UNAVAILABLE' });
  });
});
