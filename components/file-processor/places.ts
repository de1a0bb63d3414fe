/** Where files go when they are done or given up. A name is made of the message's id, so that a second attempt finds what the first one has moved. */
import { createHash } from 'node:crypto';
import { copyFile, mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, parse } from 'node:path';
import type { FileChange } from './change.ts';

export function placeIn(directory: string, { relativePath }: FileChange, messageId: string): string {
  const { dir, name, ext } = parse(relativePath);
  const digest = createHash('sha256').update(messageId).digest('hex').slice(0, 8);
  return join(directory, dir, `${name}.${digest}${ext}`);
}

/** Also to another file system. */
export async function moveFile(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  try {
    await rename(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
    await copyFile(from, `${to}.part`);
    await rename(`${to}.part`, to);
    await rm(from);
  }
}

export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

export function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}
