/** A Redis that is away, silent, forgetful, or cannot write. */
import { cp, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { until } from '../../support/wait.ts';
import type { Dice } from '../dice.ts';
import type { MachineWorld } from '../several-machines.ts';
import type { Fault } from '../target.ts';
import { move } from './planned.ts';
import { anyHost, healMs, kill } from './victims.ts';

/** What happened since the copy that Redis comes back with. */
const movesBetween = 12;

export function storeFaults(world: MachineWorld): Fault[] {
  const { cluster, ttlMs } = world;
  const { redis } = cluster;
  const fault = (
    name: string,
    mayFail: Fault['mayFail'],
    breakIt: (dice: Dice) => Promise<unknown>,
  ): Fault => ({
    name,
    mayFail,
    healMs,
    needs: 'redis', // it cannot be killed and paused at once
    async inject(dice) {
      await breakIt(dice);
      return [];
    },
  });
  return [
    fault('Redis is killed and started on its file at once', 'nothing', () => redis.restart()),
    ...[0.5, 3].map(times =>
      fault(`Redis is away for ${times} × TTL, and has its file`, 'unsafe', async () => {
        await redis.kill();
        await sleep(times * ttlMs);
        await redis.start();
      }),
    ),
    fault('Redis is killed and started empty', 'unsafe', () => redis.wipe()),
    fault('Redis is away for 2 × TTL, and is empty then', 'unsafe', async () => {
      await redis.kill();
      await sleep(2 * ttlMs);
      await redis.wipe();
    }),
    fault('Redis is flushed', 'unsafe', () => command(redis.url, 'FLUSHALL')),
    fault('Redis is killed with a host, and started empty', 'unsafe', async dice => {
      const { host } = await anyHost(world, dice, 'registers');
      await redis.kill();
      kill(host);
      await redis.wipe();
    }),
    ...[0.5, 2].map(times =>
      fault(`SIGSTOP of Redis for ${times} × TTL`, 'unsafe', async () => {
        redis.pause();
        await sleep(times * ttlMs);
        redis.resume();
      }),
    ),
    fault('Redis comes back with an old copy of its file', 'unsafe', async dice => {
      const copy = join(world.disk, 'copy');
      try {
        // In the middle of a write its end may be torn, as that of a replica that was cut off.
        await cp(redis.directory, copy, { recursive: true });
        for (const key of dice.shuffle(world.keys).slice(0, movesBetween)) {
          await until(`${key} is moved`, async () => {
            if (await move(world, key, dice.pick(world.names))) world.noteMove();
            return true;
          });
        }
        const { host } = await anyHost(world, dice, 'registers');
        kill(host);
        await sleep(ttlMs / 2);
        await redis.kill();
        await rm(redis.directory, { recursive: true });
        await rename(copy, redis.directory);
      } finally {
        await rm(copy, { recursive: true, force: true });
      }
      await redis.start();
    }),
    fault("Redis' disk is full for 3 × TTL", 'unsafe', async () => {
      const filler = join(world.disk, 'filler');
      try {
        await fillDisk(filler);
        // It refuses writes from the first that it could not keep.
        await until('Redis refuses writes', () => refusesWrites(redis.url));
        await sleep(3 * ttlMs);
      } finally {
        await rm(filler, { force: true });
      }
      await until('Redis takes writes', async () => !(await refusesWrites(redis.url)));
    }),
  ];
}

async function command(url: string, name: string, ...words: string[]): Promise<unknown> {
  const client = new Redis(url, { maxRetriesPerRequest: 0, connectTimeout: 1_000, commandTimeout: 1_000 });
  client.on('error', () => {}); // the command's own rejection tells
  try {
    return await client.call(name, ...words);
  } finally {
    client.disconnect();
  }
}

async function refusesWrites(url: string): Promise<boolean> {
  try {
    await command(url, 'SET', 'nemesis:probe', 'x'.repeat(8_192), 'PX', '1000');
    return false;
  } catch (error) {
    if (/MISCONF/.test((error as Error).message)) return true;
    throw error;
  }
}

const chunk = Buffer.alloc(64 * 1024, 1);

async function fillDisk(path: string): Promise<void> {
  for (let size = chunk.length; size >= 1; size = Math.floor(size / 16)) {
    for (;;) {
      try {
        await writeFile(path, chunk.subarray(0, size), { flag: 'a' });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
        break;
      }
    }
  }
}
