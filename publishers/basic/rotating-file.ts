/**
 * A file that lines are appended to, by several processes of a machine at once, and that makes room when it has grown: `file` becomes
 * `file.1`, that becomes `file.2`, and so on; the oldest goes.
 *
 * Only one process rotates at a time, under a lock that ends with it, and looks at the size again once it has it. Another one may have the old
 * file still open: it notices before its next line, and a line that it writes meanwhile is in `file.1`, not lost.
 */
import { mkdirSync } from 'node:fs';
import { mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { HoldfastError, lockFolder } from '#core';

export interface Rotation {
  /** From this size on it is rotated. */
  sizeBytes: number;
  /** How many old ones are kept. */
  files: number;
}

export interface RotatingFile {
  /** Resolves to how many of the bytes were written. */
  append(bytes: Buffer, sync: boolean): Promise<number>;
  close(): Promise<void>;
}

export async function openRotatingFile(path: string, rotation: Rotation | null): Promise<RotatingFile> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  let file = await openFile(path);
  /** Looking and writing are one turn. */
  let turn: Promise<unknown> = Promise.resolve();

  async function write(bytes: Buffer, sync: boolean): Promise<number> {
    const { bytesWritten } = await file.handle.write(bytes);
    if (bytesWritten === bytes.length && sync) await file.handle.datasync();
    return bytesWritten;
  }

  async function follow({ sizeBytes, files }: Rotation): Promise<void> {
    const found = await stat(path).catch(() => null); // another process is just renaming it
    if (found?.ino === file.inode && found.size < sizeBytes) return;
    if (found?.ino === file.inode && !(await rotate(path, { sizeBytes, files }))) return;
    const old = file.handle;
    file = await openFile(path);
    await old.close();
  }

  return {
    append(bytes, sync) {
      if (!rotation) return write(bytes, sync);
      const written = turn.then(async () => {
        await follow(rotation);
        return write(bytes, sync);
      });
      turn = written.catch(() => {}); // whoever appended it is told
      return written;
    },
    async close() {
      await turn;
      await file.handle.close();
    },
  };
}

async function openFile(path: string): Promise<{ handle: FileHandle; inode: number }> {
  const handle = await open(path, 'a', 0o600);
  return { handle, inode: (await handle.stat()).ino };
}

/** False: another process is at it. */
async function rotate(path: string, { sizeBytes, files }: Rotation): Promise<boolean> {
  const folder = join(dirname(path), `.${basename(path)}.rotation`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  let lock;
  try {
    lock = lockFolder(folder);
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'HF_ALREADY_RUNNING') return false;
    throw error;
  }
  try {
    const found = await stat(path).catch(() => null);
    if (!found || found.size < sizeBytes) return true; // it has just been done
    await rm(`${path}.${files}`, { force: true });
    for (let number = files - 1; number >= 1; number--) {
      await rename(`${path}.${number}`, `${path}.${number + 1}`).catch(ignoreMissing);
    }
    await rename(path, `${path}.1`);
    return true;
  } finally {
    lock.release();
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
