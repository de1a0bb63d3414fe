/** Unix sockets have short names (108 bytes); folders of users do not. */
import { createHash } from 'node:crypto';
import { chmodSync, lstatSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError } from '../errors/holdfast-error.ts';

const longest = 100;

/**
 * Where a socket that belongs to `directory` lies: in it, or, when that name is too long for the kernel, under a
 * name made from its hash in a folder of this user (0700) in the temporary folder. The same input gives the same path.
 */
export function socketPath(directory: string, name: string): string {
  const direct = join(directory, `${name}.sock`);
  if (Buffer.byteLength(direct) <= longest) return direct;
  const home = join(tmpdir(), `holdfast-${process.getuid?.() ?? 'user'}`);
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const found = lstatSync(home);
  if (!found.isDirectory() || (process.getuid && found.uid !== process.getuid())) {
    throw new HoldfastError('HF_STATE_UNUSABLE', `${home} belongs to someone else; remove it or set TMPDIR`);
  }
  chmodSync(home, 0o700);
  return join(home, `${createHash('sha256').update(direct).digest('hex').slice(0, 24)}.sock`);
}
