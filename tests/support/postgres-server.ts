/**
 * A real PostgreSQL server in a temporary folder. Uses the installed one; where there is none, `findPostgres` is null.
 * As root it runs as the user `postgres`, because PostgreSQL refuses to run as root.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { chown, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { existsSync, readdirSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { freePort, until } from './wait.ts';

const run = promisify(execFile);

export interface PostgresServer {
  /** With user and password. */
  readonly url: string;
  readonly port: number;
  readonly password: string;
  /** SIGKILL to the server, then a start on the same folder. */
  restart(): Promise<void>;
  /** SIGKILL, and nothing listens any more. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** SIGSTOP to the server and all its processes: connections are accepted and never answered. */
  pause(): Promise<void>;
  resume(): void;
  /** Kills it and removes its folder. */
  stop(): Promise<void>;
}

const folders = () => {
  const root = '/usr/lib/postgresql';
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : [];
  return versions.map(version => join(root, version, 'bin'));
};

/** Where `initdb` and `postgres` are, null if they are not installed. */
export function findPostgres(): string | null {
  return folders().find(folder => existsSync(join(folder, 'initdb'))) ?? null;
}

/** @param settings further ones, as `name=value` */
export async function startPostgres(settings: readonly string[] = []): Promise<PostgresServer> {
  const binaries = findPostgres();
  if (!binaries) throw new Error('PostgreSQL is not installed');
  const directory = await mkdtemp(join(tmpdir(), 'hf-postgres-'));
  const data = join(directory, 'data');
  const isRoot = process.getuid?.() === 0;
  const asUser = isRoot ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups'] : [];
  if (isRoot) {
    const id = async (flag: string) => Number((await run('id', [flag, 'postgres'])).stdout);
    await chown(directory, await id('-u'), await id('-g'));
  }
  const command = (program: string, parameters: string[]): [string, string[]] => {
    const [first, ...rest] = [...asUser, join(binaries, program), ...parameters];
    return [first!, rest];
  };
  await run(
    ...command('initdb', ['-D', data, '-U', 'tester', '-A', 'trust', '-E', 'UTF8', '--locale=C', '-N']),
  );
  const port = await freePort();
  const password = 'sesame-5e3c1';
  let child: ChildProcess | null = null;

  async function start(): Promise<void> {
    const url = `postgres://tester@127.0.0.1:${port}/postgres`;
    await until('PostgreSQL answers', async () => {
      if (!child || child.exitCode !== null || child.signalCode !== null) {
        // Right after a SIGKILL a start may fail, while processes of the one before are still ending.
        const all = [
          'fsync=off',
          'listen_addresses=127.0.0.1',
          `unix_socket_directories=${directory}`,
          ...settings,
        ];
        const parameters = ['-D', data, '-p', String(port), ...all.flatMap(one => ['-c', one])];
        child = spawn(...command('postgres', parameters), { stdio: 'ignore' });
      }
      const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 1_000 });
      client.on('error', () => {}); // `connect` and `query` tell
      try {
        await client.connect();
        await client.query(`ALTER USER tester PASSWORD '${password}'`);
        return true;
      } finally {
        await client.end();
      }
    });
  }

  async function processes(): Promise<number[]> {
    const pid = child?.pid;
    if (!pid) return [];
    const found = [pid];
    for (const task of await readdir(`/proc/${pid}/task`)) {
      const children = await readFile(`/proc/${pid}/task/${task}/children`, 'utf8');
      found.push(...children.split(' ').filter(Boolean).map(Number));
    }
    return found;
  }

  let paused: number[] = [];
  function resume(): void {
    for (const pid of paused.reverse()) signal(pid, 'SIGCONT');
    paused = [];
  }

  async function kill(): Promise<void> {
    resume();
    const ending = child;
    if (!ending || ending.exitCode !== null || ending.signalCode !== null) return;
    const exited = once(ending, 'exit');
    for (const pid of await processes()) signal(pid, 'SIGKILL');
    await exited;
  }

  // Its other processes end by themselves when this one has.
  const killNow = () => child?.kill('SIGKILL');
  process.on('exit', killNow);
  async function stop(): Promise<void> {
    await kill();
    process.off('exit', killNow);
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  }

  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url: `postgres://tester:${password}@127.0.0.1:${port}/postgres`,
    port,
    password,
    start,
    kill,
    async restart() {
      await kill();
      await start();
    },
    async pause() {
      paused = await processes();
      for (const pid of paused) signal(pid, 'SIGSTOP');
    },
    resume,
    stop,
  };
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended meanwhile.
  }
}
