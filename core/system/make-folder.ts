/**
 * Folders that a user names. Node's own `mkdir` with `recursive` never returns where the parent is there and yet nothing
 * can be made in it (`/proc/x`): it takes ENOENT for a missing parent for ever.
 */
import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Makes the folder and what is missing above it; one that is there stays as it is.
 * @param mode permission bits of what is made
 * @throws the system's error, ENOTDIR when something else has that name
 */
export async function makeFolder(path: string, mode = 0o700): Promise<void> {
  try {
    await mkdir(path, { mode });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return await mustBeFolder(path);
    const parent = dirname(path);
    if (code !== 'ENOENT' || parent === path) throw error;
    // One that is there by now was made by somebody else meanwhile, or is one in which nothing can be made: trying again tells.
    if (!(await exists(parent))) await makeFolder(parent, mode);
    await mkdir(path, { mode }).catch(async (failure: NodeJS.ErrnoException) => {
      if (failure.code !== 'EEXIST') throw failure; // somebody else made it meanwhile
      await mustBeFolder(path);
    });
  }
}

async function mustBeFolder(path: string): Promise<void> {
  if ((await stat(path)).isDirectory()) return;
  throw Object.assign(new Error(`${path} is not a folder`), { code: 'ENOTDIR' });
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
