/** The component: one database for each key, its SQL run by one of a few processes that the key's hash picks. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Component, ComponentContext } from '#core';
import { createDatabaseHandler } from './database-handler.ts';
import { databaseFileName } from './file-name.ts';
import { findLauncher } from './launcher.ts';
import { isLocked } from './sql-failure.ts';
import { readSettings } from './settings.ts';
import { createSqlProcess, type SqlProcess } from './sql-process.ts';
import type { Target } from './worker-protocol.ts';

/**
 * How often an opening may find the file locked, for half a second each time. An owner that was frozen in the middle of a
 * write keeps its lock until its agent has ended it, a second or so after its session.
 */
const openAttemptsMax = 6;

/** @param file the module to start as a SQL process */
export function createService(context: ComponentContext, file: string): Component {
  const settings = readSettings(context.settings, context.dataDirectory);
  let processes: SqlProcess[] = [];

  function processFor(key: string): SqlProcess {
    const hash = createHash('sha256').update(key).digest().readUInt32BE();
    const process = processes[hash % processes.length];
    if (!process) throw new Error('the service has not been started');
    return process;
  }

  async function stop(signal: AbortSignal): Promise<void> {
    await Promise.all(processes.map(process => process.stop(signal)));
    processes = [];
  }

  return {
    stop,
    async start(signal) {
      const launcher = await findLauncher(settings.maxBytes);
      signal.throwIfAborted();
      const { openDatabases, maxRows, maxBytes, deadlineMs, maxQueued } = settings;
      processes = Array.from({ length: settings.processes }, () =>
        createSqlProcess({
          file,
          launcher,
          worker: { openDatabases, maxRows, maxBytes },
          deadlineMs,
          maxQueued,
          log: context.log,
        }),
      );
      try {
        await Promise.all(processes.map(process => process.start()));
      } catch (error) {
        await stop(signal);
        throw error;
      }
    },
    async openResource(resource) {
      const target: Target = {
        path: join(settings.directory, databaseFileName(resource.key)),
        key: resource.key,
        fence: resource.fence,
      };
      const process = processFor(resource.key);
      for (let attempt = 1; ; attempt++) {
        resource.assertOwned();
        try {
          await process.call(
            { type: 'open', target, mustExist: resource.hadOwner === true },
            { right: resource.signal },
          );
          break;
        } catch (error) {
          if (attempt === openAttemptsMax || !isLocked(error)) throw error;
        }
      }
      return createDatabaseHandler({
        resource,
        target,
        process,
        worker: context.processId,
        bytesMax: settings.maxBytes,
      });
    },
  };
}
