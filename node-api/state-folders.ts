/** The agent's folders, made for its user alone, or a clear word on why they cannot be. */
import { access, chmod, constants } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, makeFolder } from '#core';

/** @throws HoldfastError HF_STATE_UNUSABLE naming the folder */
export async function prepareFolders(dataDirectory: string): Promise<void> {
  for (const folder of [dataDirectory, join(dataDirectory, 'hosts'), join(dataDirectory, 'compile-cache')]) {
    try {
      await makeFolder(folder);
      await chmod(folder, 0o700);
      await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    } catch (cause) {
      throw new HoldfastError(
        'HF_STATE_UNUSABLE',
        `the folder ${folder} cannot be used: ${(cause as Error).message}; make it writable for this user, or choose another with --data`,
        { details: { directory: folder }, cause },
      );
    }
  }
}
