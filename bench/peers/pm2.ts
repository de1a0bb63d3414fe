/** PM2 with a daemon and a home of its own. */
import { fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { peersFolder } from './install.ts';

export interface Pm2 {
  daemonPid: number;
  start(apps: object[]): Promise<void>;
  reload(name: string): Promise<void>;
  deleteAll(): Promise<void>;
  /** Ends the daemon and all of its apps. */
  stop(): Promise<void>;
}

const patienceMs = 60_000;

export async function startPm2(): Promise<Pm2> {
  const home = mkdtempSync(join(tmpdir(), 'holdfast-bench-pm2-'));
  const driver = fork(join(import.meta.dirname, 'pm2-driver.js'), [peersFolder], {
    env: { ...process.env, PM2_HOME: home },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const waiting = new Map<number, (answer: { error?: string; result?: unknown }) => void>();
  driver.on('message', (answer: { id: number; error?: string; result?: unknown }) => {
    waiting.get(answer.id)?.(answer);
    waiting.delete(answer.id);
  });
  let id = 0;
  const ask = (command: string, argument?: unknown) =>
    new Promise<unknown>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`PM2 did not ${command} in time`)), patienceMs);
      waiting.set(++id, ({ error, result }) => {
        clearTimeout(timer);
        if (error) reject(new Error(`PM2 could not ${command}: ${error}`));
        else resolve(result);
      });
      driver.send({ id, command, argument });
    });
  const daemonPid = (await ask('connect')) as number;
  return {
    daemonPid,
    start: async apps => void (await ask('start', apps)),
    reload: async name => void (await ask('reload', name)),
    deleteAll: async () => void (await ask('deleteAll')),
    async stop() {
      await ask('end');
      driver.kill('SIGKILL');
      rmSync(home, { recursive: true, force: true });
    },
  };
}
