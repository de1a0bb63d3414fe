/** A real etcd server of one member in a temporary folder. Uses the installed one; see `hasEtcd`. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, until } from './wait.ts';

export interface EtcdServer {
  readonly url: string;
  /** SIGKILL to the server, then a start on the same folder. */
  restart(): Promise<void>;
  /** SIGKILL, and nothing listens any more. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** SIGKILL, and a start on an empty folder: etcd forgets everything. */
  wipe(): Promise<void>;
  pause(): void;
  resume(): void;
  /** Kills it and removes its folder. */
  stop(): Promise<void>;
}

export function hasEtcd(): boolean {
  return spawnSync('etcd', ['--version'], { stdio: 'ignore' }).status === 0;
}

export async function startEtcd(): Promise<EtcdServer> {
  const directory = await mkdtemp(join(tmpdir(), 'hf-etcd-'));
  const url = `http://127.0.0.1:${await freePort()}`;
  const peer = `http://127.0.0.1:${await freePort()}`;
  let generation = 0;
  let child: ChildProcess | null = null;

  const killNow = () => child?.kill('SIGKILL');
  const isRunning = () => child !== null && child.exitCode === null && child.signalCode === null;

  async function start(): Promise<void> {
    child = spawn(
      'etcd',
      [
        '--name',
        'tester',
        '--data-dir',
        join(directory, String(generation)),
        '--log-level',
        'error',
        '--listen-client-urls',
        url,
        '--advertise-client-urls',
        url,
        '--listen-peer-urls',
        peer,
        '--initial-advertise-peer-urls',
        peer,
        '--initial-cluster',
        `tester=${peer}`,
      ],
      { stdio: 'ignore' },
    );
    await until('etcd answers', async () => {
      if (!isRunning()) throw new Error('etcd ended');
      const answer = await fetch(`${url}/health`, { signal: AbortSignal.timeout(1_000) });
      return ((await answer.json()) as { health: string }).health === 'true';
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
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  }

  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url,
    start,
    kill,
    async restart() {
      await kill();
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
