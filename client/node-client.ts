/** Typed calls to the API of one node. */
import {
  formatLeaderMark,
  LEADER_HEADER,
  type ApiEvent,
  type KillOutcome,
  type LeaderMark,
  type NodeCoordination,
  type NodePressure,
  type NodeStats,
  type NodeStore,
  type PackageInfo,
  type ProcessInfo,
  type ProcessStats,
  type RedisAddress,
  type StartProcessRequest,
} from '#core';
import { createConnection, path, type ConnectionOptions } from './http.ts';
import { uploadUnlessKnown, type Zip } from './upload.ts';
import { readEvents } from './server-sent-events.ts';

export interface NodeClientOptions extends ConnectionOptions {
  /** The mark of the leading node manager, put on every mutation. Asked at each call; may throw to forbid it. */
  leader?: () => LeaderMark | null;
}

/** What an upload did. */
export interface UploadOutcome {
  /** False when the same bytes were there already. */
  created: boolean;
  package: PackageInfo;
}

/** Deadline of one call, milliseconds, where it differs from the client's. */
export interface CallDeadline {
  timeoutMs?: number;
}

export interface NodeClient {
  readonly uri: string;
  stats(options?: CallDeadline): Promise<NodeStats>;
  /** The store of the node, and whether it answers; takes up to some seconds when it does not. */
  coordination(options?: CallDeadline): Promise<NodeCoordination>;
  /** Makes this store the node's; refused (HF_WRONG_STATE) when it belongs to another one. Needs the scope `admin`. */
  assignCoordination(address: RedisAddress, options?: CallDeadline): Promise<NodeStore>;
  /** What it is short of. Cheap. */
  condition(options?: CallDeadline): Promise<{ pressure: NodePressure[] }>;
  /** Makes the node refuse leaders that are older than the one whose mark this client puts on its calls. */
  announceLeader(options?: CallDeadline): Promise<void>;
  processStats(packageName?: string): Promise<ProcessStats[]>;
  /** Live processes; with `all` those that ended, too. */
  processes(options?: { all?: boolean; packageName?: string } & CallDeadline): Promise<ProcessInfo[]>;
  /** @param id processId or settingsId */
  process(packageName: string, id: string): Promise<ProcessInfo>;
  /** Every stored version of every package. */
  packages(options?: CallDeadline): Promise<PackageInfo[]>;
  /** `makeCurrent`: PUT instead of POST. */
  uploadPackage(
    zip: Zip,
    options: {
      makeCurrent: boolean;
      /** Of the ZIP, hex: a node that may have these bytes is asked first, and they are sent only if it has not. */
      sha256?: string;
    } & CallDeadline,
  ): Promise<UploadOutcome>;
  /** The ZIP as it was uploaded. */
  archive(packageName: string, version: string, options?: CallDeadline): Promise<Buffer>;
  /** Without a version: all of them. */
  removePackage(packageName: string, options?: { version?: string }): Promise<void>;
  rollback(packageName: string): Promise<PackageInfo>;
  start(packageName: string, request: StartProcessRequest, options?: CallDeadline): Promise<ProcessInfo>;
  kill(
    packageName: string,
    processId: string,
    options?: { graceMs?: number } & CallDeadline,
  ): Promise<KillOutcome>;
  killPackage(packageName: string, options?: { graceMs?: number } & CallDeadline): Promise<KillOutcome>;
  killAll(options?: { graceMs?: number } & CallDeadline): Promise<KillOutcome>;
  /** The log's text. @param id processId or settingsId */
  logs(packageName: string, id: string, options?: { tail?: number }): Promise<string>;
  events(signal: AbortSignal): AsyncIterable<ApiEvent>;
  /** Whether the API is ready; false also when nobody answers. */
  ready(): Promise<boolean>;
}

const uploadTimeoutMs = 120_000;
const startTimeoutMs = 60_000;

/** Every call has a deadline and throws HoldfastError: the node's own, or HF_NODE_UNREACHABLE. */
export function createNodeClient(options: NodeClientOptions): NodeClient {
  const connection = createConnection({
    ...options,
    extraHeaders(method): Record<string, string> {
      if (method === 'GET') return {};
      const mark = options.leader?.();
      return mark ? { [LEADER_HEADER]: formatLeaderMark(mark) } : {};
    },
  });
  const { json, send, read } = connection;
  const node = (...segments: string[]) => path('api', 'node', ...segments);

  function kill(target: string, { graceMs, timeoutMs }: { graceMs?: number } & CallDeadline) {
    return json<KillOutcome>('PUT', target, {
      json: graceMs === undefined ? {} : { graceMs },
      timeoutMs: timeoutMs ?? (graceMs ?? 6_000) + 10_000,
    });
  }

  return {
    uri: connection.uri,
    stats: deadline => json('GET', node('stats'), { ...deadline }),
    coordination: deadline => json('GET', node('coordination'), { ...deadline }),
    assignCoordination: (address, deadline) =>
      json('PUT', node('coordination'), { json: address, ...deadline }),
    condition: deadline => json('GET', node('condition'), { ...deadline }),
    announceLeader: deadline => json('PUT', node('leader'), { ...deadline }),
    processStats: packageName =>
      json(
        'GET',
        packageName === undefined ? node('stats', 'processes') : node('stats', 'processes', packageName),
      ),
    processes: ({ all, packageName, ...deadline } = {}) =>
      json('GET', packageName === undefined ? node('processes') : node('processes', packageName), {
        query: { all: all || undefined },
        ...deadline,
      }),
    process: (packageName, id) => json('GET', node('processes', packageName, id)),
    packages: deadline => json('GET', node('packages', 'configuration'), { ...deadline }),
    async uploadPackage(zip, { makeCurrent, sha256, timeoutMs = uploadTimeoutMs }) {
      const response = await uploadUnlessKnown(zip, sha256, upload =>
        send(makeCurrent ? 'PUT' : 'POST', node('packages'), { timeoutMs, ...upload }),
      );
      return { created: response.status === 201, package: (await read(response.json())) as PackageInfo };
    },
    async archive(packageName, version, deadline) {
      const response = await send('GET', node('packages', packageName, 'archive'), {
        query: { version },
        headers: { accept: 'application/zip' },
        timeoutMs: deadline?.timeoutMs ?? uploadTimeoutMs,
      });
      return Buffer.from(await read(response.arrayBuffer()));
    },
    removePackage: (packageName, { version } = {}) =>
      json('DELETE', node('packages', packageName), { query: { version } }),
    rollback: packageName => json('POST', node('packages', packageName, 'rollback')),
    start: (packageName, request, deadline) =>
      json('PUT', node('processes', packageName, 'start'), {
        json: request,
        timeoutMs: deadline?.timeoutMs ?? startTimeoutMs,
      }),
    kill: (packageName, processId, how = {}) => kill(node('processes', packageName, processId, 'kill'), how),
    killPackage: (packageName, how = {}) => kill(node('processes', packageName, 'kill'), how),
    killAll: (how = {}) => kill(node('processes', 'kill'), how),
    async logs(packageName, id, { tail } = {}) {
      const response = await send('GET', node('processes', packageName, id, 'logs'), {
        query: { tail },
        headers: { accept: 'text/plain' },
      });
      return read(response.text());
    },
    events: signal => readEvents(connection, node('events'), signal),
    ready: connection.ready,
  };
}
