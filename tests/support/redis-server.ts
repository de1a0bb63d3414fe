/** A real Redis server in a temporary folder. Uses the installed one; see `hasRedis`. */
import { spawn, spawnSync, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, until } from './wait.ts';

/**
 * `always`: every write is synced to an append-only file before it is answered. `everysec`: it is written before, and synced later, so that
 * only a power cut loses something; when the disk is full the server refuses writes. `none`: a restart forgets everything.
 */
export type RedisPersistence = 'always' | 'everysec' | 'none';

/** Where a server runs, if not here. */
export interface RedisHost {
  /** IPv4, reachable from here. */
  address: string;
  spawn(file: string, words: readonly string[], options: SpawnOptions): ChildProcess;
}

export interface RedisServer {
  /** Without a database number. Stays the same over restarts. */
  readonly url: string;
  readonly port: number;
  /** The folder of its files. */
  readonly directory: string;
  /** SIGKILL to the server, then a start on the same folder; with other persistence, if asked for. */
  restart(options?: { persistence?: RedisPersistence }): Promise<void>;
  /** SIGKILL, and nothing listens any more. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** SIGKILL, and a start on an empty folder: Redis forgets everything. */
  wipe(): Promise<void>;
  /** SIGSTOP: connections are accepted and never answered. */
  pause(): void;
  resume(): void;
  /** Kills it and removes its folder. */
  stop(): Promise<void>;
}

export function hasRedis(): boolean {
  return spawnSync('redis-server', ['--version'], { stdio: 'ignore' }).status === 0;
}

/**
 * `parameters`: further ones for the command line, for example `['--maxmemory', '1mb']`. `root`: an empty folder for its files, which
 * stays (default: one in the temporary folder, which is removed).
 */
export async function startRedis(
  options: { persistence?: RedisPersistence; parameters?: string[]; root?: string; host?: RedisHost } = {},
): Promise<RedisServer> {
  const root = options.root ?? (await mkdtemp(join(tmpdir(), 'hf-redis-')));
  const port = await freePort();
  const { address, spawn: launch } = options.host ?? { address: '127.0.0.1', spawn };
  let generation = 0;
  let persistence = options.persistence ?? 'none';
  let child: ChildProcess | null = null;
  const directory = () => join(root, String(generation));
  const isRunning = () => child !== null && child.exitCode === null && child.signalCode === null;
  const killNow = () => child?.kill('SIGKILL');

  async function start(): Promise<void> {
    await mkdir(directory(), { recursive: true });
    const parameters = Object.entries({
      port: String(port),
      bind: address,
      dir: directory(),
      save: '',
      appendonly: persistence === 'none' ? 'no' : 'yes',
      appendfsync: persistence === 'none' ? 'no' : persistence,
      loglevel: 'warning',
    }).flatMap(([name, value]) => [`--${name}`, value]);
    child = launch('redis-server', [...parameters, ...(options.parameters ?? [])], { stdio: 'ignore' });
    await until('Redis answers', async () => {
      if (!isRunning()) throw new Error('redis-server ended');
      return ping(port, address);
    });
  }

  async function kill(): Promise<void> {
    if (!isRunning()) return;
    const exited = once(child!, 'exit');
    killNow();
    await exited;
  }

  process.on('exit', killNow);
  async function stop(): Promise<void> {
    await kill();
    process.off('exit', killNow);
    if (options.root === undefined) await rm(root, { recursive: true, force: true, maxRetries: 5 });
  }

  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url: `redis://${address}:${port}`,
    port,
    get directory() {
      return directory();
    },
    start,
    kill,
    async restart(change) {
      await kill();
      persistence = change?.persistence ?? persistence;
      await start();
    },
    async wipe() {
      await kill();
      generation++;
      await start();
    },
    pause: () => child?.kill('SIGSTOP'),
    resume: () => child?.kill('SIGCONT'),
    stop,
  };
}

/** Whether it answers and has read its files. */
function ping(port: number, host: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = createConnection({ port, host }, () => socket.write('PING\r\n'));
  // One that wants a password first has read its files, too.
  socket.on('data', answer => resolve(/^(?:\+PONG|-NOAUTH)/.test(answer.toString())));
  socket.on('error', () => resolve(false));
  socket.on('close', () => resolve(false));
  return promise.finally(() => socket.destroy());
}
