/**
 * A SQL process: answers its host's calls one after the other. SQLite cannot be interrupted from within Node, so the
 * host ends this process when a call takes too long; SQLite rolls back what was not committed. It must never outlive
 * its host, because it holds locks on the files: the kernel kills it with the host where it can, else a thread does.
 */
import { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { describe } from './description.ts';
import { createFile, inFencedTransaction, installFence } from './fence.ts';
import { createOpenDatabases, type OpenDatabases } from './open-databases.ts';
import { ServiceError, toFailure } from './service-error.ts';
import { toServiceError } from './sql-failure.ts';
import { readSqlRequest } from './sql-request.ts';
import { runRequest } from './statements.ts';
import type { WorkerCall, WorkerMessage, WorkerOptions, WorkerReply } from './worker-protocol.ts';

/** Serves until the host hangs up. */
export function serveSql(options: WorkerOptions): void {
  const databases = createOpenDatabases(options);
  const send = (message: WorkerMessage): void => {
    // A failure to send means that the host is gone; `disconnect` follows.
    process.send?.(message, undefined, undefined, () => {});
  };
  if (options.watchParent) watchParent();
  // Ctrl-C reaches the whole process group; the host decides when SQL ends, after it has closed its resources.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => {});
  process.on('disconnect', () => {
    databases.closeAll();
    process.exit(0);
  });
  process.on('message', (call: WorkerCall) => send(answer(databases, call, options)));
  send({ type: 'ready' });
  warmUp();
}

/** The first statement of a process is slow; better now than while a client waits for a key to move here. */
function warmUp(): void {
  const database = new DatabaseSync(':memory:');
  database.exec('CREATE TABLE warm (id INTEGER PRIMARY KEY); INSERT INTO warm VALUES (1)');
  database.prepare('SELECT id FROM warm').all();
  database.close();
}

function answer(databases: OpenDatabases, call: WorkerCall, options: WorkerOptions): WorkerReply {
  let refusal: string | null = null;
  try {
    switch (call.type) {
      case 'open':
        return open(databases, call);
      case 'close':
        databases.close(call.target.path);
        return { type: 'done', text: '', wrote: false };
      case 'describe': {
        const connection = databases.get(call.target.path);
        const found = inFencedTransaction(connection, call.target, () => describe(connection));
        const text = JSON.stringify({
          worker: call.worker,
          database: call.database,
          key: call.target.key,
          fence: call.target.fence.toString(),
          ...found,
        });
        return { type: 'done', text, wrote: false };
      }
      case 'execute': {
        const request = readSqlRequest(call.input);
        const connection = databases.get(call.target.path);
        const { guard } = connection;
        guard.refusal = null;
        guard.readOnly = call.input.readOnly;
        try {
          const outcome = inFencedTransaction(connection, call.target, () => {
            guard.active = true;
            try {
              return runRequest(connection, request, options);
            } finally {
              guard.active = false;
            }
          });
          const names = `"worker":${JSON.stringify(call.worker)},"database":${JSON.stringify(call.database)}`;
          return { type: 'done', text: `{${names},${outcome.fields}}`, wrote: outcome.wrote };
        } finally {
          refusal = guard.refusal;
        }
      }
    }
  } catch (error) {
    return { type: 'failed', failure: toFailure(toServiceError(error, refusal)) };
  }
}

function open(databases: OpenDatabases, call: WorkerCall & { type: 'open' }): WorkerReply {
  const { target } = call;
  databases.close(target.path);
  try {
    if (!call.mustExist) createFile(target.path);
    installFence(databases.get(target.path), target);
    return { type: 'done', text: '', wrote: true };
  } catch (error) {
    databases.close(target.path);
    if (error instanceof Error && 'syscall' in error) {
      throw new ServiceError('HF_STATE_UNUSABLE', `cannot use ${target.path}: ${error.message}`);
    }
    throw error;
  }
}

/** A thread, because the main one may be deep in SQL: it sees the end of the standard input, whose other end the host holds. */
function watchParent(): void {
  const program = `
    const socket = new (require('node:net').Socket)({ fd: 0, readable: true, writable: false });
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => process.kill(process.pid, 'SIGKILL'));
    socket.resume();`;
  new Worker(program, {
    eval: true,
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 1 },
  }).unref();
}
