/**
 * Log files of hosts: read from the end, in bounded pieces, and kept from growing without end. Hosts append to files
 * that they hold open, so the end of a file that is too long is copied aside and the file cut to nothing: the host goes on
 * at the new end. What it wrote between the copy and the cut is lost, and the beginning of what came faster than anybody
 * looked; a log is worth that, a full disk is not.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { open, readdir, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

export const logStreams = ['host', 'stdout', 'stderr'] as const;
export type LogStream = (typeof logStreams)[number];

const fileBytesMax = 10 * 1024 * 1024;
const asideBytesMax = 2 * fileBytesMax;
const readBytesMax = 4 * 1024 * 1024;

/** The last lines of each file, under a heading where there are several. */
export async function readLogs(
  directory: string,
  streams: readonly LogStream[],
  lines: number,
): Promise<string> {
  const texts = await Promise.all(
    streams.map(async stream => ({ stream, text: await tail(join(directory, `${stream}.log`), lines) })),
  );
  const filled = texts.filter(({ text }) => text !== '');
  if (filled.length === 1) return filled[0]!.text;
  return filled.map(({ stream, text }) => `==> ${stream}.log <==\n${text}`).join('\n');
}

/** The last lines of a file, from at most its last 4 MiB; empty when there is none. Ends with a line end. */
async function tail(path: string, lines: number): Promise<string> {
  let text: string;
  try {
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      const length = Math.min(size, readBytesMax);
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
      text = buffer.toString('utf8', 0, bytesRead);
      if (length < size) text = text.slice(text.indexOf('\n') + 1); // begin with a whole line
    } finally {
      await file.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
  const all = text.replace(/\n$/, '').split('\n');
  return text === '' ? '' : `${all.slice(-lines).join('\n')}\n`;
}

/** Cuts every host's log files that are too long. */
export async function limitLogs(hostsDirectory: string): Promise<void> {
  for (const name of await readdir(hostsDirectory).catch(() => [])) {
    for (const stream of logStreams) await limitFile(join(hostsDirectory, name, `${stream}.log`));
  }
}

/** Moves what is in the file, or its last 20 MiB, to `<path>.1` once it is over 10 MiB. */
export async function limitFile(path: string): Promise<void> {
  try {
    const { size } = await stat(path);
    if (size <= fileBytesMax) return;
    const end = createReadStream(path, { start: Math.max(0, size - asideBytesMax), end: size - 1 });
    await pipeline(end, createWriteStream(`${path}.1`, { mode: 0o600 }));
    await truncate(path, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
