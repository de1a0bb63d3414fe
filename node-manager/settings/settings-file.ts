/** The settings file on the disk: read as it is, and written without tearing its link, its mode or its content. */
import { readFile, realpath, stat } from 'node:fs/promises';
import { HoldfastError, writeFileDurably } from '#core';

export type FileText =
  { kind: 'missing' } | { kind: 'text'; text: string } | { kind: 'unreadable'; problem: HoldfastError };

export async function readSettingsFile(file: string): Promise<FileText> {
  try {
    return { kind: 'text', text: await readFile(file, 'utf8') };
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return { kind: 'missing' };
    const message = `cannot read ${file}: ${(cause as Error).message}`;
    return { kind: 'unreadable', problem: new HoldfastError('HF_SETTINGS_INVALID', message, { cause }) };
  }
}

/** Throws the file system's error. */
export async function writeSettingsFile(file: string, text: string): Promise<void> {
  // Through a link and with the mode that its user gave it.
  const target = await realpath(file).catch(() => file);
  const mode = await stat(target).then(
    found => found.mode & 0o777,
    () => 0o644,
  );
  await writeFileDurably(target, text, mode);
}
