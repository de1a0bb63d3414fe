/** Backup and restore as the API offers them: streams out and in, one restore at a time, and no file left behind. */
import { createHash } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { RestoreOutcome } from '#client';
import { HoldfastError, isoTime, makeFolder, type ApiEvent, type Logger } from '#core';
import { archiveLimits } from '#package-manager';
import { makeBackup, type BackupSources } from './backup.ts';
import { openBackup } from './opened-backup.ts';
import { restoreBackup, type RestoreDeps, type RestoreOptions } from './restore.ts';

/** `stillAtWork` is called at every step, and at least every half minute: it may take longer than clients wait for the head of an answer. */
export type RestoreRequest = Omit<RestoreOptions, 'sha256'> & { stillAtWork: () => void };

const stillAtWorkMs = 30_000;

export interface Backups {
  /** The ZIP, and how to call it. It is broken off when something cannot be read: what came before is no backup. */
  backup(): { name: string; zip: Readable };
  /** @throws HoldfastError see `restoreBackup`; HF_UNAVAILABLE while another one is under way */
  restore(zip: Readable, options: RestoreRequest): Promise<RestoreOutcome>;
}

export function createBackups(
  options: BackupSources & RestoreDeps & { /** For what is uploaded. */ directory: string; log: Logger },
): Backups {
  const { directory, log } = options;
  let underWay = false;

  async function restore(zip: Readable, asked: RestoreRequest): Promise<RestoreOutcome> {
    await makeFolder(directory);
    const path = join(directory, `${options.system.random.id(12)}.zip`);
    try {
      const sha256 = await receive(zip, path);
      const cancel = options.system.timers.every(stillAtWorkMs, asked.stillAtWork);
      try {
        return await restoreFrom(path, { ...asked, sha256 });
      } finally {
        cancel();
      }
    } finally {
      await rm(path, { force: true });
    }
  }

  async function restoreFrom(
    path: string,
    asked: RestoreRequest & { sha256: string },
  ): Promise<RestoreOutcome> {
    const backup = await openBackup(path);
    const onEvent = (event: ApiEvent) => {
      asked.stillAtWork();
      options.onEvent(event);
    };
    try {
      log.info({ sha256: asked.sha256, by: asked.by, ...backup.manifest.counts }, 'restoring a backup');
      return await restoreBackup({ ...options, onEvent }, backup, asked);
    } finally {
      await backup.close();
    }
  }

  return {
    backup() {
      const zip = Readable.from(makeBackup(options), { objectMode: false });
      zip.on('error', error => log.error({ error: String(error) }, 'a backup was broken off'));
      const time = isoTime(options.system.clock).replaceAll(/[:.]/g, '-');
      return { name: `${options.clusterName()}-${time}.zip`, zip };
    },
    async restore(zip, asked) {
      if (underWay)
        throw new HoldfastError('HF_UNAVAILABLE', 'a restore is under way here; wait for its end');
      underWay = true;
      try {
        return await restore(zip, asked);
      } finally {
        underWay = false;
      }
    },
  };
}

/** Into a file of its own; resolves to its digest. */
async function receive(zip: Readable, path: string): Promise<string> {
  const file = await open(path, 'wx', 0o600);
  const hash = createHash('sha256');
  let sizeBytes = 0;
  try {
    // Not destroyed when it is refused: the answer goes out on the same connection.
    for await (const chunk of zip.iterator({ destroyOnReturn: false })) {
      const bytes = chunk as Buffer;
      sizeBytes += bytes.length;
      const limit = archiveLimits.archiveBytesMax;
      if (sizeBytes > limit) {
        throw new HoldfastError('HF_REQUEST_TOO_LARGE', `a backup is at most ${limit} bytes`);
      }
      hash.update(bytes);
      await file.writeFile(bytes);
    }
  } finally {
    await file.close();
  }
  return hash.digest('hex');
}
