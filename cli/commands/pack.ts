/** `holdfast pack <folder>`. */
import { resolve } from 'node:path';
import { jsonLine, shownPath, size } from '../output.ts';
import { packFolder } from '../pack/pack.ts';
import type { Environment } from '../environment.ts';

export async function runPack(
  folder: string,
  options: { out: string; json?: boolean },
  { cwd, stdout }: Environment,
): Promise<void> {
  const packed = await packFolder(resolve(cwd, folder), { outDirectory: resolve(cwd, options.out) });
  const { zipPath, manifest, sha256, sizeBytes, changed } = packed;
  const { packageName, packageVersion, kind } = manifest;
  stdout.write(
    options.json
      ? jsonLine({ zipPath, packageName, packageVersion, kind, sha256, sizeBytes, changed })
      : `${shownPath(cwd, zipPath)}  ${size(sizeBytes)}  sha256 ${sha256}${changed ? '' : '  (unchanged)'}\n`,
  );
}
