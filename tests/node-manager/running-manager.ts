/** A node manager with fake nodes and coordination in memory, for tests of the whole. Everything ends with `stop`. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMasterClient, type MasterClient } from '#client';
import {
  createSystem,
  HoldfastError,
  type ClusterSettingsDocument,
  type Coordination,
  type CoordinationAddress,
  type System,
} from '#core';
import { createNodeManager, type ManagerSettings, type NodeManager } from '#node-manager';
import { createInMemoryCoordination, type InMemoryCoordination } from '../support/in-memory-coordination.ts';
import { createFakeNode, type FakeNode } from './fake-node.ts';
import { silentLogger } from './silence.ts';

export const uploadBytesMax = 1024 * 1024;
export const secret = 'a-secret-of-the-test-cluster';

export interface Cluster {
  nodes: FakeNode[];
  coordination: InMemoryCoordination;
  /** What managers that are started take for the address of their store. */
  address: CoordinationAddress;
  settingsFile: string;
  directory: string;
  /** The document that `start` writes at first. */
  document: ClusterSettingsDocument;
  start(
    options?: { processId?: string; withFile?: boolean; system?: System } & Partial<ManagerSettings>,
  ): Promise<RunningManager>;
  /** Replaces the settings file by rename, as editors do. */
  replaceFile(content: string): Promise<void>;
  readFile(): Promise<string>;
  /** All managers; the nodes run on. */
  stopManagers(): Promise<void>;
  stop(): Promise<void>;
}

export interface RunningManager {
  manager: NodeManager;
  client: MasterClient;
  /** Whether this manager is cut off from the store; others are not. */
  cutFromStore(cut: boolean): void;
  stop(): Promise<void>;
}

export async function createCluster(
  nodeCount: number,
  more: Partial<ClusterSettingsDocument> = {},
): Promise<Cluster> {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-manager-'));
  const coordination = createInMemoryCoordination();
  const nodes = Array.from({ length: nodeCount }, (_, index) => createFakeNode(`node-${index + 1}`, secret));
  await Promise.all(nodes.map(node => node.listen()));
  const settingsFile = join(directory, 'cluster-settings.json');
  const running = new Set<RunningManager>();
  const cluster: Cluster = {
    nodes,
    coordination,
    address: { kind: 'embedded', socketPath: '/nowhere' },
    settingsFile,
    directory,
    document: {
      clusterName: 'test',
      nodeServers: nodes.map(node => ({ networkName: node.name, nodeApiUri: node.uri() })),
      ...more,
    },
    async start({ processId = 'manager-1', withFile = true, system = createSystem(), ...settings } = {}) {
      if (withFile && !(await exists(settingsFile))) {
        await writeFile(settingsFile, JSON.stringify(cluster.document, null, 2));
      }
      const link = cuttable(coordination);
      const manager = createNodeManager(
        {
          processId,
          nodeName: 'node-1',
          log: silentLogger,
          // Managers on machines of their own.
          dataDirectory: join(directory, processId === 'manager-1' ? 'data' : `data-${processId}`),
          reportHealth: () => {},
          cluster: { clusterName: 'test', secret, coordination: link.coordination, address: cluster.address },
          settings: {
            ...(withFile ? { settingsFile } : {}),
            host: '127.0.0.1',
            port: 0,
            leaseTtlMs: 2_000,
            livenessMs: 100,
            nodeTimeoutMs: 2_000,
            deadAfterMs: 400,
            flapLosses: 0,
            flapWindowMs: 300_000,
            flapHoldMs: 60_000,
            startupGraceMs: 2_000,
            uploadBytesMax,
            rebalanceThreshold: 0.1,
            rebalanceMovesPerMinute: 1_000,
            ...settings,
          },
        },
        system,
      );
      await manager.start(new AbortController().signal);
      const entry: RunningManager = {
        manager,
        client: createMasterClient({ uri: manager.uri()!, token: secret }),
        cutFromStore: link.cut,
        async stop() {
          running.delete(entry);
          await manager.stop(new AbortController().signal);
        },
      };
      running.add(entry);
      return entry;
    },
    async replaceFile(content) {
      await writeFile(`${settingsFile}.new`, content);
      await rename(`${settingsFile}.new`, settingsFile);
    },
    readFile: () => readFile(settingsFile, 'utf8'),
    async stopManagers() {
      for (const entry of running) await entry.stop();
    },
    async stop() {
      await cluster.stopManagers();
      await Promise.all(nodes.map(node => node.close()));
      await coordination.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
  return cluster;
}

/** One manager's link to the store. While it is cut every call is refused, and nothing is told. */
function cuttable(store: Coordination): { coordination: Coordination; cut(value: boolean): void } {
  let isCut = false;
  const missed = new Map<(news: unknown) => void, unknown>();
  const guard = <Part extends object>(part: Part): Part =>
    new Proxy(part, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== 'function') return member;
        return (...args: unknown[]) => {
          if (name === 'watch') {
            const told = args.at(-1) as (news: unknown) => void;
            // As a real one: after a gap it tells how things are now.
            const listener = (news: unknown) => void (isCut ? missed.set(told, news) : told(news));
            return Reflect.apply(member, target, [...args.slice(0, -1), listener]) as unknown;
          }
          if (isCut) {
            return Promise.reject(
              new HoldfastError('HF_COORDINATION_UNAVAILABLE', 'this manager is cut off'),
            );
          }
          return Reflect.apply(member, target, args) as unknown;
        };
      },
    });
  return {
    coordination: {
      leases: guard(store.leases),
      directory: guard(store.directory),
      documents: guard(store.documents),
      close: async () => {},
    },
    cut(value) {
      isCut = value;
      if (isCut) return;
      for (const [told, news] of missed) told(news);
      missed.clear();
    },
  };
}

/** Asks until the answer satisfies, and returns it; fails with what was seen last. */
export async function until<Value>(
  ask: () => Value | Promise<Value>,
  satisfies: (value: Value) => boolean,
  timeoutMs = 15_000,
): Promise<Value> {
  const { clock, timers } = createSystem();
  const endMs = clock.monotonicMs() + timeoutMs;
  for (;;) {
    const value = await ask();
    if (satisfies(value)) return value;
    assert.ok(clock.monotonicMs() < endMs, `not in time; seen last: ${JSON.stringify(value, null, 1)}`);
    await timers.sleep(20);
  }
}

/** settingsIds of an instance's copies by node. */
export function copiesOn(cluster: Cluster, instanceId: string): Record<string, string[]> {
  return Object.fromEntries(
    cluster.nodes.map(node => [
      node.name,
      node.processes.map(item => item.settingsId ?? '').filter(id => id.startsWith(`${instanceId}/`)),
    ]),
  );
}

export function copyCounts(cluster: Cluster, instanceId: string): number[] {
  return Object.values(copiesOn(cluster, instanceId)).map(ids => ids.length);
}

async function exists(path: string): Promise<boolean> {
  return readFile(path).then(
    () => true,
    () => false,
  );
}
