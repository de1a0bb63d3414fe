/**
 * `holdfast backup`: the file has its name only when all of it is there, and only its owner may read it, because settings may hold passwords.
 */
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { HoldfastError } from '#core';
import { openArchive } from '#package-manager';
import { connectToCluster, type ConnectOptions } from '../cluster-location.ts';
import { jsonLine, shownPath, size } from '../output.ts';
import type { Environment } from '../environment.ts';

const progressEveryBytes = 16 * 1024 * 1024;

export async function runBackup(
  options: ConnectOptions & { output?: string; json?: boolean },
  { cwd, stdout, stderr, system }: Environment,
): Promise<void> {
  const { master } = await connectToCluster(cwd, options);
  const { name, zip } = await master.backup();
  const path = resolve(cwd, options.output ?? name);
  const unfinished = join(dirname(path), `.${system.random.id(8)}.unfinished`);
  const progress = (bytes: number) => {
    if (stderr.isTTY) stderr.write(`\r${size(bytes)} …`);
  };
  const file = await open(unfinished, 'wx', 0o600);
  let sizeBytes: number;
  let counts: Record<string, number>;
  try {
    try {
      sizeBytes = await receive(zip, file, progress);
      await file.sync();
    } finally {
      await file.close();
    }
    counts = await countsOf(unfinished);
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
  if (stderr.isTTY) stderr.write('\r');
  const listed = Object.entries(counts).map(([what, count]) => `${count} ${what}`);
  const text =
    `${shownPath(cwd, path)}: ${size(sizeBytes)}, with settings, ${listed.join(', ')}\n` +
    'The data of components is not in it: copy .holdfast/data (and secrets, token) of each machine besides.\n';
  stdout.write(options.json ? jsonLine({ file: path, sizeBytes, counts }) : text);
}

async function receive(
  zip: ReadableStream<Uint8Array>,
  file: FileHandle,
  progress: (bytes: number) => void,
): Promise<number> {
  let sizeBytes = 0;
  let toldBytes = 0;
  try {
    for await (const chunk of zip) {
      await file.writeFile(chunk);
      sizeBytes += chunk.length;
      if (sizeBytes - toldBytes < progressEveryBytes) continue;
      toldBytes = sizeBytes;
      progress(sizeBytes);
    }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).path !== undefined) throw cause; // of the file, not of the stream
    throw new HoldfastError(
      'HF_UNAVAILABLE',
      'the backup was broken off, and nothing was kept of it; the log of the node manager says why. Try again',
      { cause },
    );
  }
  return sizeBytes;
}

/** Reads it as a restore would begin to, so that nobody keeps a file that is none. */
async function countsOf(path: string): Promise<Record<string, number>> {
  const archive = await openArchive(path);
  try {
    const manifest = JSON.parse((await archive.read('manifest.json')).toString()) as {
      counts: Record<string, number>;
    };
    return manifest.counts;
  } finally {
    await archive.close();
  }
}
