import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { socketPath, writeFileDurably } from '#core';

describe('durable files', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'holdfast-files-'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('replaces the content, sets the mode whatever the umask, and leaves nothing beside it', async () => {
    const path = join(directory, 'a');
    await writeFileDurably(path, 'one');
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    const umask = process.umask(0o077);
    try {
      await writeFileDurably(path, Buffer.from('two'), 0o644);
    } finally {
      process.umask(umask);
    }
    assert.equal(await readFile(path, 'utf8'), 'two');
    assert.equal((await stat(path)).mode & 0o777, 0o644);
    assert.deepEqual(await readdir(directory), ['a']);
  });

  it('leaves the old content, and nothing beside it, when it fails', async () => {
    const path = join(directory, 'folder');
    await mkdir(path);
    await writeFile(join(path, 'keep'), '');
    await assert.rejects(writeFileDurably(path, 'x'));
    assert.deepEqual(await readdir(directory), ['folder']);
    await assert.rejects(writeFileDurably(join(directory, 'no/such/folder'), 'x'), { code: 'ENOENT' });
  });

  it('shows readers one whole content or another, also when the writer is killed', async () => {
    const path = join(directory, 'contended');
    await writeFileDurably(path, 'x'.repeat(100_000));
    const writer = spawn(
      process.execPath,
      [join(import.meta.dirname, '../../fixtures/core/rewrites-file.ts'), path],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    try {
      await once(writer.stdout, 'data');
      for (let round = 0; round < 200; round++) {
        const text = await readFile(path, 'utf8');
        assert.equal(text.length, 100_000);
        assert.equal(text, text[0]!.repeat(100_000));
      }
    } finally {
      const exited = once(writer, 'exit');
      writer.kill('SIGKILL');
      await exited;
    }
    const text = await readFile(path, 'utf8');
    assert.equal(text, text[0]!.repeat(100_000));
  });

  it('lets several writers at one file: the last one wins, whole', async () => {
    const path = join(directory, 'a');
    await Promise.all(
      Array.from({ length: 20 }, (_, index) => writeFileDurably(path, String(index).repeat(1_000))),
    );
    const text = await readFile(path, 'utf8');
    assert(Array.from({ length: 20 }, (_, index) => String(index).repeat(1_000)).includes(text));
    assert.deepEqual(await readdir(directory), ['a']);
  });
});

describe('socket paths', () => {
  it('lie in their folder where the name is short enough', () => {
    assert.equal(socketPath('/run/x', 'agent'), '/run/x/agent.sock');
  });

  it('are short, equal for equal input, private, and usable where it is not', async () => {
    const long = `/${'deep/'.repeat(40)}`;
    const path = socketPath(long, 'agent');
    assert(Buffer.byteLength(path) <= 103, path);
    assert.equal(socketPath(long, 'agent'), path);
    assert.notEqual(socketPath(long, 'other'), path);
    assert.notEqual(socketPath(`${long}x`, 'agent'), path);
    assert.equal((await stat(join(path, '..'))).mode & 0o777, 0o700);
    const server = createServer();
    await once(server.listen(path), 'listening');
    server.close();
  });

  it('count bytes, not characters', () => {
    assert(!socketPath(`/${'ä'.repeat(50)}`, 'agent').includes('ä'));
  });
});
