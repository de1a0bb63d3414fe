/** Replications as their hosts would run them, in this process or in processes that can be killed, and tables to compare. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import pg from 'pg';
import { configure, createSystem, parseManifest, type Component, type ComponentContext } from '#core';
import { createReplication } from '../../../components/database-replication/component.ts';
import type { Status } from '../../../components/database-replication/status.ts';
import { until } from '../../support/wait.ts';

export const componentFolder = join(import.meta.dirname, '../../../components/database-replication');

export const temporaryFolder = (): Promise<string> => mkdtemp(join(tmpdir(), 'holdfast-replication-'));
export const removeFolder = (path: string): Promise<void> =>
  rm(path, { recursive: true, force: true, maxRetries: 5 });

export type Given = Record<string, unknown>;

/** The settings as the host would hand them over: checked, with defaults. */
export async function configured(settings: Given): Promise<ComponentContext['settings']> {
  const manifest = parseManifest(await readFile(join(componentFolder, 'manifest.json'), 'utf8'));
  return configure(manifest, settings as Parameters<typeof configure>[1]) as ComponentContext['settings'];
}

export interface Running {
  status(): Promise<Status>;
  /** The last report of its health. */
  health(): { ready: boolean; message?: string };
  logs: { facts: object; text: string }[];
  stop(): Promise<void>;
}

/** In this process, with a lease that is simply given. */
export async function startReplication(
  settings: Given,
  options: { directory: string; fence: bigint; processId?: string },
): Promise<Running> {
  const { directory, fence, processId = `host-${fence}` } = options;
  const logs: Running['logs'] = [];
  const note = (facts: object, text: string): void => void logs.push({ facts, text });
  let health: { ready: boolean; message?: string } = { ready: true };
  const component: Component = createReplication(
    {
      name: 'database-replication',
      instanceId: 'copy',
      processId,
      nodeName: 'node-1',
      settings: await configured(settings),
      dataDirectory: directory,
      log: { debug: note, info: note, warn: note, error: note },
      leases: {
        watch: () => () => {},
        async hold(
          _name: string,
          { signal }: { signal: AbortSignal },
          work: (signal: AbortSignal, lease: { fence: bigint }) => Promise<unknown>,
        ) {
          return { acquired: true, value: await work(signal, { fence }), fence, heldToTheEnd: true };
        },
      },
      reportHealth: (report: typeof health) => void (health = report),
    } as unknown as ComponentContext,
    createSystem(),
  );
  await component.start(new AbortController().signal);
  return {
    logs,
    health: () => health,
    async status() {
      const response = await component.fetch!(new Request('http://localhost/'));
      return (await response.json()) as Status;
    },
    stop: () => component.stop(new AbortController().signal),
  };
}

export interface Replicator {
  process: ChildProcess;
  output(): string;
  status(): Promise<Status>;
  kill(): Promise<void>;
}

/** In a process of its own. */
export async function spawnReplicator(
  settings: Given,
  options: { directory: string; fence: bigint; env?: NodeJS.ProcessEnv },
): Promise<Replicator> {
  const { directory, fence, env } = options;
  const argument = JSON.stringify({
    settings: await configured(settings),
    dataDirectory: directory,
    fence: fence.toString(),
    processId: `process-${fence}`,
  });
  const child = fork(join(import.meta.dirname, '../../fixtures/components/replicator.ts'), [argument], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    env: { ...process.env, ...env },
  });
  let output = '';
  child.stderr?.on('data', (chunk: Buffer) => (output = (output + chunk.toString()).slice(-20_000)));
  return {
    process: child,
    output: () => output,
    async status() {
      const answer = once(child, 'message', { signal: AbortSignal.timeout(20_000) });
      child.send('status');
      return (await answer)[0] as Status;
    },
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** Until what it tells is as wanted; fails with what it said last. */
export function waitFor(
  running: { status(): Promise<Status> },
  what: string,
  holds: (status: Status) => boolean,
): Promise<Status> {
  let last: Status | null = null;
  return until(`${what}, last ${JSON.stringify(last)}`, async () => {
    last = await running.status();
    if (holds(last)) return last;
    throw new Error(JSON.stringify(last));
  });
}

export function openFile(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: 10_000 });
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF');
  return database;
}

/** A connection whose values are the server's text, in a fixed style. */
export async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: url,
    types: { getTypeParser: () => (text: string) => text },
    options: '-c timezone=UTC -c datestyle=ISO',
  } as unknown as pg.ClientConfig);
  client.on('error', () => {});
  await client.connect();
  return client;
}

export async function postgresRows(client: pg.Client, query: string): Promise<unknown[][]> {
  return (await client.query<unknown[]>({ text: query, rowMode: 'array' })).rows;
}

export function sqliteRows(database: DatabaseSync, query: string): unknown[][] {
  const statement = database.prepare(query);
  statement.setReadBigInts(true);
  statement.setReturnArrays(true);
  return statement.all() as unknown as unknown[][];
}

/** The URL without its password, and the environment that brings it. */
export function withoutPassword(url: string): { url: string; env: Record<string, string> } {
  const parsed = new URL(url);
  const env = { REPLICATION_PASSWORD: parsed.password };
  parsed.password = '';
  return { url: parsed.href, env };
}
