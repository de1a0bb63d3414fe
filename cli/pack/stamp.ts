/**
 * Knows whether a package must be packed again, from a note of every file that went in, with size and time of change. When
 * none differs, and the ZIP is the one that was written, the note answers in a few milliseconds. Notes lie in Holdfast's own
 * `build/`, not where users keep their ZIPs.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileDurably } from '#core';

export interface Stamp {
  /** Hash over `inputs`, their sizes and times, and the packer's revision. */
  inputsHash: string;
  inputs: string[];
  zip: { sha256: string; sizeBytes: number; modifiedMs: number };
}

const stampsDirectory = join(import.meta.dirname, '../../build/stamps');

/** Where the note on a ZIP lies. */
function stampPath(zipPath: string): string {
  const name = createHash('sha256').update(zipPath).digest('hex').slice(0, 24);
  return join(stampsDirectory, `${name}.json`);
}

/** The stamp of an up-to-date ZIP, else null. @param zipPath absolute */
export async function readCurrentStamp(zipPath: string, revision: string): Promise<Stamp | null> {
  try {
    const stamp = JSON.parse(await readFile(stampPath(zipPath), 'utf8')) as Stamp;
    const zip = await stat(zipPath);
    if (zip.size !== stamp.zip.sizeBytes || zip.mtimeMs !== stamp.zip.modifiedMs) return null;
    return (await hashInputs(stamp.inputs, revision)) === stamp.inputsHash ? stamp : null;
  } catch {
    return null; // none, or a broken one: packing again is always right
  }
}

export async function writeStamp(
  zipPath: string,
  options: { inputs: string[]; revision: string; sha256: string },
): Promise<void> {
  const inputs = [...new Set(options.inputs)].sort();
  const zip = await stat(zipPath);
  const stamp: Stamp = {
    inputsHash: await hashInputs(inputs, options.revision),
    inputs,
    zip: { sha256: options.sha256, sizeBytes: zip.size, modifiedMs: zip.mtimeMs },
  };
  try {
    await mkdir(stampsDirectory, { recursive: true });
    await writeFileDurably(stampPath(zipPath), JSON.stringify(stamp), 0o644);
  } catch {
    // Holdfast lies in a folder that this user cannot write: it is packed anew each time.
  }
}

async function hashInputs(inputs: readonly string[], revision: string): Promise<string> {
  const hash = createHash('sha256').update(revision);
  const facts = await Promise.all(
    inputs.map(async path => {
      const found = await stat(path).catch(() => null);
      return found ? `${path}\0${found.size}\0${found.mtimeMs}\n` : `${path}\0gone\n`;
    }),
  );
  for (const fact of facts) hash.update(fact);
  return hash.digest('hex');
}
