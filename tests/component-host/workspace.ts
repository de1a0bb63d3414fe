/** A folder with a real coordinator, for tests that run component hosts; everything in it ends with `close`. */
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createSystem,
  type Coordination,
  type HostConfiguration,
  type HostLaunch,
  type InstalledPackage,
  type InstanceId,
  type NodeName,
  type ProcessId,
  type ResourceKey,
  type SessionId,
  type Settings,
} from '#core';
import { startHost, type Host } from '#component-host';
import { connectCoordination, startCoordinator } from '#ownership';
import { bridgeHeaders, openEntrance, type Entrance } from '../support/frames-bridge.ts';

export const system = createSystem();
export const clusterSecret = 'cluster-secret-of-the-tests';
const fixtures = join(import.meta.dirname, '../fixtures/component-host');

export interface Workspace {
  directory: string;
  /** A file that the fixtures append to, and its lines. */
  journal: string;
  lines(): string[];
  coordination: Coordination;
  launch(change?: Partial<HostLaunch>): HostLaunch;
  /** A host in this process. */
  host(change?: Partial<HostLaunch>, startMs?: number): Promise<Host>;
  /** Where requests go over HTTP that shall come to the host in frames, with `channelHeaders`. */
  entrance(host: Pick<Host, 'uri'>): Promise<string>;
  close(): Promise<void>;
}

export async function openWorkspace(): Promise<Workspace> {
  const directory = await mkdtemp(join(tmpdir(), 'hf-host-'));
  const coordinator = await startCoordinator({ stateRoot: join(directory, 'state'), system });
  const address = { kind: 'embedded', socketPath: coordinator.socketPath } as const;
  const coordination = await connectCoordination(address, { system });
  const hosts: Host[] = [];
  const journal = join(directory, 'journal');
  const entrances = new Map<string, Promise<Entrance>>();
  let launched = 0;

  function launch(change: Partial<HostLaunch> = {}): HostLaunch {
    launched += 1;
    return {
      processId: `node-1-${launched}` as ProcessId,
      hostSecret: `host-secret-${launched}`,
      nodeName: 'node-1' as NodeName,
      clusterName: 'test',
      clusterSecret,
      agentSocket: join(directory, 'agent.sock'),
      coordination: address,
      listenHost: '127.0.0.1',
      firstPort: 0,
      hostDirectory: join(directory, `host-${launched}`),
      dataRoot: join(directory, 'data'),
      orphanGraceMs: 60_000,
      logLevel: 'debug',
      ...change,
    };
  }

  return {
    directory,
    journal,
    lines: () => (existsSync(journal) ? readFileSync(journal, 'utf8').trimEnd().split('\n') : []),
    coordination,
    launch,
    async host(change, startMs) {
      const host = await startHost({
        launch: launch(change),
        system,
        ...(startMs === undefined ? {} : { startMs }),
      });
      hosts.push(host);
      return host;
    },
    async entrance({ uri }) {
      let entrance = entrances.get(uri);
      if (!entrance) entrances.set(uri, (entrance = openEntrance({ address: uri, secret: clusterSecret })));
      return (await entrance).uri;
    },
    async close() {
      for (const entrance of entrances.values()) (await entrance).close();
      await Promise.all(
        hosts.map(async host => {
          await host.shutdown({ graceMs: 500 });
          await host.ended;
        }),
      );
      await coordination.close();
      await coordinator.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

export function fixture(packageName: string): InstalledPackage {
  return { packageName, packageVersion: '1.0.0', directory: join(fixtures, packageName) };
}

/** What an agent would hand over. */
export function configuration(
  packageName: string,
  settings: Settings = {},
  change: Partial<HostConfiguration> = {},
): HostConfiguration {
  return {
    settingsId: 'pool/0/1',
    instanceId: 'pool' as InstanceId,
    component: fixture(packageName),
    settings,
    publisher: null,
    env: {},
    sessionTtlMs: 5_000,
    capacity: 1,
    concurrency: 0,
    idleMs: 0,
    onAuthorityLoss: 'stop',
    ...change,
  };
}

/** Polls until `check` gives something other than false, null or undefined. */
export async function eventually<Result>(
  check: () => Result | Promise<Result>,
  what: string,
  withinMs = 10_000,
): Promise<NonNullable<Result>> {
  const endMs = system.clock.monotonicMs() + withinMs;
  for (;;) {
    const result = await check();
    if (result !== null && result !== undefined && result !== false) return result;
    if (system.clock.monotonicMs() > endMs) throw new Error(`did not happen: ${what}`);
    await system.timers.sleep(10);
  }
}

export interface Answer {
  status: number;
  headers: IncomingMessage['headers'];
  text: string;
}

/** A request as the router sends it: over the channel of the host's session. */
export async function routed(
  workspace: Workspace,
  host: Host,
  path: string,
  options: Omit<RequestOptions, 'headers'> & {
    headers?: Record<string, string>;
    body?: string;
    key?: string;
    pool?: string;
    fence?: string;
  } = {},
): Promise<Answer> {
  const { body, ...rest } = options;
  const headers = { ...(await channelHeaders(workspace, host, options)), ...rest.headers };
  return send(new URL(path, await workspace.entrance(host)), { ...rest, headers }, body);
}

/** For the entrance of `host`: what goes with a request for it, and for `key` if there is one. */
export async function channelHeaders(
  workspace: Workspace,
  host: Host,
  { key, pool = 'pool', fence }: { key?: string; pool?: string; fence?: string } = {},
): Promise<Record<string, string>> {
  const sessions = await workspace.coordination.directory.sessions(pool as InstanceId);
  const sessionId =
    sessions.find(session => session.address === host.uri)?.sessionId ?? ('none' as SessionId);
  const headers: Record<string, string> = {
    [bridgeHeaders.session]: sessionId,
  };
  if (key !== undefined) {
    const outcome = await workspace.coordination.directory.claim(pool as InstanceId, key as ResourceKey);
    headers[bridgeHeaders.resource] = key;
    headers[bridgeHeaders.fence] = fence ?? (outcome.owned ? String(outcome.claim.fence) : '1');
  }
  return headers;
}

export async function send(url: URL, options: RequestOptions, body?: string | Buffer): Promise<Answer> {
  const request = httpRequest(url, options);
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return {
    status: response.statusCode!,
    headers: response.headers,
    text: Buffer.concat(chunks).toString('utf8'),
  };
}
