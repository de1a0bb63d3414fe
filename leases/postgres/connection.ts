/**
 * Calls to PostgreSQL that end in bounded time: one connection of a pool, one statement, one deadline over both. A server that
 * is stopped, or a network that swallows packets, answers nothing at all, so the deadline is kept here and a connection that
 * missed it is destroyed. Nothing of a connection string ever gets into an error.
 */
import { HoldfastError, type System } from '#core';

/** What is needed of a `pg` pool; `new pg.Pool(…)` is one. */
export interface PostgresPool {
  readonly options?: { readonly max?: number | undefined };
  connect(): Promise<PostgresClient>;
  on(event: 'error', listener: (error: Error) => void): unknown;
  off(event: 'error', listener: (error: Error) => void): unknown;
}

/** What is needed of a client of such a pool. */
export interface PostgresClient {
  query(text: string, values: unknown[]): Promise<{ rows: unknown[] }>;
  /** With true the connection is closed instead of kept. */
  release(destroy?: boolean): void;
  on(event: 'error' | 'end', listener: () => void): unknown;
  on(event: 'notification', listener: (message: PostgresNotification) => void): unknown;
  off(event: 'error' | 'end', listener: () => void): unknown;
  off(event: 'notification', listener: (message: PostgresNotification) => void): unknown;
}

export interface PostgresNotification {
  channel: string;
  payload?: string | undefined;
}

/** Runs one statement and resolves to its rows; rejects with HF_COORDINATION_UNAVAILABLE. */
export type PostgresCall = <Row>(text: string, values: unknown[]) => Promise<Row[]>;

export interface Connection {
  call: PostgresCall;
  /** Whether one connection can be set aside without leaving none for calls. */
  readonly canSpareOne: boolean;
  /** A connection of its own, to be released by the caller. Rejects with HF_COORDINATION_UNAVAILABLE. */
  take(): Promise<PostgresClient>;
  /** Idempotent. Ends the pool only if it is ours. */
  close(): Promise<void>;
}

export interface ConnectionOptions {
  pool?: PostgresPool | undefined;
  connectionString?: string | undefined;
  callTimeoutMs: number;
  system: System;
}

/** Of those that collide one always gets through; the others step aside for a random moment, longer each time up to this. */
const asideMsMax = 32;
/** serialization_failure, deadlock_detected: the statement was rolled back, and may be tried again. */
const collisions = new Set(['40001', '40P01']);

const ignore = (): void => {
  // What broke is told by the call that needs the connection; the pool has dropped it already.
};

export async function openConnection(options: ConnectionOptions): Promise<Connection> {
  const { system, callTimeoutMs } = options;
  const own = options.pool ? null : await createPool(options);
  const pool = options.pool ?? own!.pool;
  // Without a listener the loss of an idle connection would end the process.
  pool.on('error', ignore);
  let closed = false;

  async function take(withinMs = callTimeoutMs): Promise<PostgresClient> {
    if (closed) throw unavailable('the lease store has been closed');
    const connecting = pool.connect();
    let late = false;
    // One that comes after the deadline goes back at once.
    connecting.then(client => late && client.release(), ignore);
    try {
      const client = await within(connecting, withinMs, system);
      client.on('error', ignore);
      return client;
    } catch (cause) {
      late = true;
      throw toUnavailable(cause);
    }
  }

  async function once<Row>(text: string, values: unknown[]): Promise<Row[]> {
    const startMs = system.clock.monotonicMs();
    const client = await take();
    const leftMs = callTimeoutMs - (system.clock.monotonicMs() - startMs);
    let usable = false;
    try {
      const { rows } = await within(client.query(text, values), Math.max(1, leftMs), system);
      usable = true;
      return rows as Row[];
    } catch (error) {
      // An error of the server leaves the connection as good as it was; anything else does not.
      usable = sqlState(error) !== null;
      throw error;
    } finally {
      client.off('error', ignore);
      client.release(!usable);
    }
  }

  return {
    canSpareOne: (pool.options?.max ?? 2) > 1,
    take: () => take(),
    async call<Row>(text: string, values: unknown[]) {
      const endMs = system.clock.monotonicMs() + callTimeoutMs;
      for (let asideMs = 1; ; asideMs = Math.min(2 * asideMs, asideMsMax)) {
        try {
          return await once<Row>(text, values);
        } catch (cause) {
          const late = system.clock.monotonicMs() >= endMs;
          if (late || !collisions.has(sqlState(cause) ?? '')) throw toUnavailable(cause);
        }
        await system.timers.sleep(system.random.fraction() * asideMs);
      }
    },
    async close() {
      if (closed) return;
      closed = true;
      await own?.end();
      pool.off('error', ignore);
    },
  };
}

async function createPool(options: ConnectionOptions): Promise<{ pool: PostgresPool; end(): Promise<void> }> {
  const { connectionString = '', callTimeoutMs, system } = options;
  checkConnectionString(connectionString);
  const { default: pg } = await import('pg');
  const pool = new pg.Pool({
    connectionString,
    max: 5, // four calls at once, and the connection that listens
    connectionTimeoutMillis: callTimeoutMs,
    statement_timeout: callTimeoutMs,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    allowExitOnIdle: true,
    application_name: 'holdfast leases',
  });
  const open = new Set<{ destroy(): void }>();
  pool.on('connect', client => {
    const { stream } = (client as unknown as { connection: { stream: { destroy(): void } } }).connection;
    open.add(stream);
    client.once('end', () => open.delete(stream));
  });
  return {
    pool,
    async end() {
      try {
        await within(pool.end(), Math.min(callTimeoutMs, 1_000), system);
      } catch {
        // A server that is stopped does not even take a goodbye.
        for (const stream of open) stream.destroy();
      }
    },
  };
}

function checkConnectionString(text: string): void {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url?.protocol !== 'postgres:' && url?.protocol !== 'postgresql:') {
    // Not a word of it in the message: it may hold a password.
    throw new HoldfastError(
      'HF_LEASE_INVALID',
      'connectionString must be a URL like postgres://user:password@host:5432/database',
      { details: { argument: 'connectionString' } },
    );
  }
}

async function within<T>(work: Promise<T>, ms: number, system: System): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const cancel = system.timers.after(ms, () => reject(new Error(`no answer within ${Math.round(ms)} ms`)), {
    keepAlive: true,
  });
  work.catch(ignore); // when the deadline comes first, nobody else waits for it
  try {
    return await Promise.race([work, promise]);
  } finally {
    cancel();
  }
}

/** The SQLSTATE of an error that the server sent, null for any other. */
function sqlState(error: unknown): string | null {
  if (!(error instanceof Error) || !('severity' in error) || !('code' in error)) return null;
  const { code, severity } = error;
  // After FATAL the server closes the connection.
  return typeof code === 'string' && severity === 'ERROR' ? code : null;
}

function toUnavailable(cause: unknown): HoldfastError {
  if (cause instanceof HoldfastError) return cause;
  const { code, message } = cause as Error & { code?: unknown };
  const what = message || (typeof code === 'string' ? code : 'the connection failed');
  return unavailable(`PostgreSQL cannot be asked: ${what}`, cause);
}

function unavailable(message: string, cause?: unknown): HoldfastError {
  return new HoldfastError('HF_COORDINATION_UNAVAILABLE', message, cause === undefined ? {} : { cause });
}
