/**
 * All host processes of the node: spawns them, adopts those of an earlier agent, and answers their hello on the agent's
 * socket. Each is in the process store before it is spawned and until it is proven gone, so that an agent which dies
 * at any line leaves nothing that its successor cannot find.
 */
import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { listenForChannels, type Channel } from '#channel';
import {
  HoldfastError,
  socketPath,
  storeFingerprint,
  type AgentMethods,
  type CoordinationAddress,
  type HostLaunch,
  type HostStatus,
  type NodeName,
  type ProcessId,
} from '#core';
import type { StoredPackage } from '#package-manager';
import type { ResolvedOptions } from '../options.ts';
import type { ProcessStore } from '../store/process-store.ts';
import type { HostRecord } from '../store/records.ts';
import { HostProcess } from './host-process.ts';
import { launchHost } from './launch.ts';
import { within } from './stop-host.ts';

const sessionsMs = 2_000;

export interface HostsDeps {
  options: ResolvedOptions;
  store: ProcessStore;
  /** Where a host that is launched now finds the store. */
  coordination: () => CoordinationAddress;
  /** Ends the sessions of a host that is proven gone. Must not reject. */
  endSessions(processId: string): Promise<void>;
  onStatus(host: HostProcess, status: HostStatus): void;
}

export interface Hosts {
  /** Opens the socket that hosts connect to. */
  listen(): Promise<void>;
  /** Starts an unconfigured host. @throws HoldfastError HF_CAPACITY */
  spawn(hostPackage: StoredPackage, memoryMb: number | null): Promise<HostProcess>;
  /** Takes charge of a process of an earlier agent. */
  adopt(record: HostRecord): HostProcess;
  get(processId: string): HostProcess | undefined;
  all(): HostProcess[];
  directoryOf(processId: string): string;
  /** Starts no more; resolves when those that were being started are there or have failed. */
  settle(): Promise<void>;
  /** Hosts that run go on running; the next agent adopts them. */
  close(): Promise<void>;
}

export function createHosts({ options, store, coordination, endSessions, onStatus }: HostsDeps): Hosts {
  const { system, log, dataDirectory } = options;
  const agentSocket = socketPath(dataDirectory, 'agent');
  const hosts = new Map<string, HostProcess>();
  /** A host may say hello before its spawn has been written down: the hello waits. */
  const launching = new Map<string, Promise<unknown>>();
  let server: { close(): Promise<void> } | null = null;
  let settling = false;
  let closed = false;

  const deps = {
    system,
    onStatus,
    async onGone(host: HostProcess) {
      // A store that does not answer goes on being asked, but the process is dead either way.
      await within(system, sessionsMs, endSessions(host.processId));
      hosts.delete(host.processId);
      if (closed) return; // the next agent finds the record, sees the process gone, and does the rest
      delete store.document.hosts[host.processId];
      store.save().catch((error: unknown) => {
        // A record too many is found dead at the next start.
        log.warn({ err: error, processId: host.processId }, 'cannot write down that a host is gone');
      });
    },
  };

  return {
    async listen() {
      server = await listenForChannels(agentSocket, welcome);
    },
    async spawn(hostPackage, memoryMb) {
      const processId = `${options.nodeName}-${system.random.id(10)}`;
      const launched = spawn(processId, hostPackage, memoryMb);
      launching.set(processId, launched);
      try {
        return await launched;
      } finally {
        launching.delete(processId);
      }
    },
    adopt(record) {
      const host = new HostProcess(record, deps);
      hosts.set(record.processId, host);
      host.watchAdopted();
      return host;
    },
    get: processId => hosts.get(processId),
    all: () => [...hosts.values()],
    directoryOf,
    async settle() {
      settling = true;
      await Promise.allSettled(launching.values());
    },
    async close() {
      closed = true;
      await server?.close();
    },
  };

  function directoryOf(processId: string): string {
    return join(dataDirectory, 'hosts', processId);
  }

  async function spawn(
    processId: string,
    hostPackage: StoredPackage,
    memoryMb: number | null,
  ): Promise<HostProcess> {
    const hostSecret = randomBytes(32).toString('base64url');
    const address = coordination();
    const record: HostRecord = {
      processId,
      pid: null,
      startTime: null,
      secretSha256: createHash('sha256').update(hostSecret).digest('hex'),
      packageName: hostPackage.packageName,
      packageVersion: hostPackage.packageVersion,
      memoryMb,
      store: storeFingerprint(address),
      spawnedBootMs: system.clock.bootMs(),
    };
    store.document.hosts[processId] = record;
    try {
      await store.save();
      if (settling) throw new HoldfastError('HF_UNAVAILABLE', 'the node agent is stopping');
      const { manifest, directory } = hostPackage;
      const launched = await launchHost({
        launch: launchLine(processId, hostSecret, address),
        mainPath: join(directory, manifest.contentRoot, manifest.main),
        memoryMb,
        compileCache: join(dataDirectory, 'compile-cache'),
      });
      record.pid = launched.identity.pid;
      record.startTime = launched.identity.startTime;
      const host = new HostProcess(record, deps);
      hosts.set(processId, host);
      host.watchChild(launched.onExit);
      await store.save().catch((error: unknown) => {
        host.kill('it could not be written down');
        throw error;
      });
      return host;
    } catch (error) {
      if (record.pid === null) delete store.document.hosts[processId];
      throw error;
    }
  }

  function launchLine(processId: string, hostSecret: string, address: CoordinationAddress): HostLaunch {
    return {
      processId: processId as ProcessId,
      hostSecret,
      nodeName: options.nodeName as NodeName,
      clusterName: options.clusterName,
      clusterSecret: options.secret,
      agentSocket,
      coordination: address,
      listenHost: options.listen.host,
      firstPort: options.firstHostPort,
      hostDirectory: directoryOf(processId),
      dataRoot: join(options.stateRoot, 'data'),
      orphanGraceMs: options.orphanGraceMs,
      logLevel: options.hostLogLevel,
    };
  }

  /** Nothing is believed on a channel before its hello proves which host speaks. */
  function welcome(channel: Channel): void {
    let host: HostProcess | null = null;
    channel.handle('hello', async (params: Parameters<AgentMethods['hello']>[0]) => {
      await launching.get(params.processId)?.catch(() => {}); // whoever spawned it hears of the failure
      const claimed = hosts.get(params.processId);
      if (
        !claimed ||
        claimed.ended ||
        !claimed.proves(params.hostSecret) ||
        claimed.record.pid !== params.pid
      ) {
        log.warn({ processId: params.processId, pid: params.pid }, 'refused the hello of a host');
        return { accepted: false };
      }
      host = claimed;
      claimed.attach(channel, params.status);
      return { accepted: true };
    });
    channel.handle('status', (status: HostStatus) => host?.report(channel, status));
    channel.listen();
  }
}
