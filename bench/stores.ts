/** Coordination stores of their own for a measurement: the real processes, a client of each, and what they use. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectChannel } from '#channel';
import { createSystem, type Coordination, type InstanceId, type NodeName, type ProcessId } from '#core';
import { connectCoordination, endCoordinator, ensureCoordinator } from '#ownership';
import { Redis } from 'ioredis';
import { cpuMsOf, memoryOf } from './peers/bare-process.ts';
import { startRedis } from '../tests/support/redis-server.ts';

export const system = createSystem();
export const pool = 'bench' as InstanceId;

export interface BenchStore {
  kind: 'embedded' | 'redis';
  coordination: Coordination;
  /** CPU time of the store's process so far, milliseconds. */
  cpuMs(): number;
  /** Resident memory of the store's process, bytes. */
  rssBytes(): number;
  /** A plain client of the same Redis; null for the embedded store. */
  redis: Redis | null;
  stop(): Promise<void>;
}

export async function startEmbeddedStore(): Promise<BenchStore> {
  const root = await mkdtemp(join(tmpdir(), 'holdfast-bench-'));
  const address = await ensureCoordinator(root, system);
  const channel = await connectChannel(address.socketPath);
  channel.listen();
  const { pid } = await channel.request<{ pid: number }>('ping', {});
  channel.close();
  const coordination = await connectCoordination(address, { system });
  return {
    kind: 'embedded',
    coordination,
    ...usageOf(pid),
    redis: null,
    async stop() {
      await coordination.close();
      await endCoordinator(root, system);
      await rm(root, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** Without persistence. Its first start counts as one that forgot, so nothing is given out for `settleMs`. */
export async function startRedisStore(settleMs: number): Promise<BenchStore> {
  const server = await startRedis();
  const redis = new Redis(server.port, '127.0.0.1', { enableAutoPipelining: false });
  redis.on('error', () => {}); // the server ends before its client does
  const pid = Number(/process_id:(\d+)/.exec(await redis.info('server'))![1]);
  const coordination = await connectCoordination(
    { kind: 'redis', urls: [server.url], prefix: 'bench', sessionTtlMs: settleMs },
    { system },
  );
  return {
    kind: 'redis',
    coordination,
    ...usageOf(pid),
    redis,
    async stop() {
      await coordination.close();
      redis.disconnect();
      await server.stop();
    },
  };
}

function usageOf(pid: number): Pick<BenchStore, 'cpuMs' | 'rssBytes'> {
  return { cpuMs: () => cpuMsOf(pid), rssBytes: () => memoryOf(pid).rssBytes };
}

/** Opens a host's session. */
export async function openSession(store: BenchStore, index: number, ttlMs: number) {
  const opened = await store.coordination.directory.openSession({
    pool,
    processId: `bench-${index}` as ProcessId,
    nodeName: 'bench' as NodeName,
    address: `http://127.0.0.1:${1_024 + index}`,
    ownsResources: true,
    capacity: 1,
    ttlMs,
    attempt: 1,
  });
  return opened.sessionId;
}

/** Runs `work` for 0 … count - 1, so many at a time; resolves to how many were done in a second. */
export async function rate(
  count: number,
  concurrency: number,
  work: (index: number) => Promise<unknown>,
): Promise<number> {
  let next = 0;
  const startMs = performance.now();
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (next < count) await work(next++);
    }),
  );
  return (count / (performance.now() - startMs)) * 1_000;
}
