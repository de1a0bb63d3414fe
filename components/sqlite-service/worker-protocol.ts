/**
 * What a host and its SQL processes say to each other, over Node's IPC channel with structured cloning. One request is
 * outstanding at a time. Rows cross as finished JSON text, so that the host's event loop never walks through them.
 */
import type { Failure } from './service-error.ts';

/** Argument that makes the bundle a SQL process instead of a component. */
export const SQL_WORKER_FLAG = '--sql-worker';

/** Second argument, as JSON. Nothing secret. */
export interface WorkerOptions {
  openDatabases: number;
  maxRows: number;
  maxBytes: number;
  /** Whether the process must itself watch for its parent's death, because the kernel does not. */
  watchParent: boolean;
}

/** The database that a request is for, and the right under which it acts. */
export interface Target {
  /** Absolute path of the file. */
  path: string;
  key: string;
  fence: bigint;
}

/** How the caller wrote the SQL. */
export type SqlInput =
  { format: 'json' | 'sql'; text: string; readOnly: false } | { format: 'sql'; text: string; readOnly: true };

export type WorkerCall =
  | { type: 'open'; target: Target; mustExist: boolean }
  | { type: 'execute'; target: Target; input: SqlInput; worker: string; database: string }
  | { type: 'describe'; target: Target; worker: string; database: string }
  | { type: 'close'; target: Target };

/** `wrote`: whether anything was committed. */
export type WorkerReply =
  { type: 'done'; text: string; wrote: boolean } | { type: 'failed'; failure: Failure };

export type WorkerMessage = { type: 'ready' } | WorkerReply;
