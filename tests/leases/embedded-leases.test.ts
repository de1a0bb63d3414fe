import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystem, type LeaseService, type System } from '#core';
import { openEmbeddedLeases, REBOOT_MARGIN, type LeaseStore } from '#leases';
import { leaseConformance } from './conformance.ts';

const system = createSystem();

/** There is no server that could be restarted: processes open the file anew. */
function throughRestarts(current: () => LeaseService): LeaseService {
  return {
    tryAcquire: (...given) => current().tryAcquire(...given),
    renew: (...given) => current().renew(...given),
    release: (...given) => current().release(...given),
    inspect: (...given) => current().inspect(...given),
    list: (...given) => current().list(...given),
    watch: (...given) => current().watch(...given),
    hold: (...given) => current().hold(...given),
  };
}

describe('embedded leases', () => {
  let directory: string;
  let file: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hf-leases-'));
    file = join(directory, 'leases.sqlite');
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  leaseConformance(async () => {
    const opened: LeaseStore[] = [];
    const open = async (withSystem: System) => {
      const store = await openEmbeddedLeases({ file, system: withSystem });
      opened.push(store);
      return store;
    };
    const closeAll = () => Promise.all(opened.splice(0).map(store => store.close()));
    const clients = [await open(system), await open(system)];
    const client = (index: number) => throughRestarts(() => clients[index]!);
    return {
      leases: client(0),
      other: client(1),
      open,
      async restart() {
        await closeAll();
        clients.splice(0, 2, await open(system), await open(system));
      },
      async stop() {
        await closeAll();
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

  it('lets every process get its share, when several write without pause', async () => {
    const hammer = join(import.meta.dirname, '../fixtures/leases/hammer.ts');
    const processes = ['a', 'b', 'c'].map(name =>
      spawn(process.execPath, [hammer, file, name], { stdio: ['pipe', 'pipe', 'inherit'] }),
    );
    const outputs = processes.map(async child => {
      let text = '';
      for await (const chunk of child.stdout) {
        text += String(chunk);
        // They begin together, when the last one is ready.
        if (text === 'ready\n' && ++ready === processes.length) {
          for (const { stdin } of processes) stdin.end('go');
        }
      }
      return JSON.parse(text.slice('ready\n'.length)) as { rounds: number };
    });
    let ready = 0;
    const rounds = (await Promise.all(outputs)).map(output => output.rounds);
    const total = rounds.reduce((sum, count) => sum + count, 0);
    assert(
      rounds.every(count => count > total / 15),
      rounds.join(' '),
    );
  });

  it('goes on with higher fences when its file was lost', async () => {
    const before = await openEmbeddedLeases({ file, system });
    const first = await before.tryAcquire('a', 'one', 60_000);
    await before.close();
    await Promise.all(['', '-wal', '-shm'].map(suffix => rm(file + suffix, { force: true })));
    const after = await openEmbeddedLeases({ file, system });
    try {
      const second = await after.tryAcquire('a', 'two', 60_000);
      assert(first.acquired && second.acquired && second.fence > first.fence);
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
