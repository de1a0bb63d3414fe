/**
 * A router on an in-memory coordination store, with HTTP servers behind frames that stand in for hosts: they check
 * their right as a host does, refuse when they have none, and can be killed.
 */
import {
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
  type ServerResponse,
} from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import {
  createSystem,
  SETTINGS_DOCUMENT,
  type Coordination,
  type InstanceId,
  type Logger,
  type NodeName,
  type ProcessId,
  type ResourceKey,
  type SessionId,
} from '#core';
import { createRouter, type Router, type RouterSettings } from '#router';
import { bridgeHeaders, serveFrames } from '../support/frames-bridge.ts';
import { createInMemoryCoordination, type InMemoryCoordination } from '../support/in-memory-coordination.ts';

export const secret = 'the cluster secret of these tests';
export const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

export interface Host {
  processId: ProcessId;
  sessionId: SessionId;
  server: Server;
  /** Requests that came over the channel, those that it refused too. */
  asked: number;
  /** Keys that it is handing off: it refuses them. */
  givingAway: Set<string>;
  /** Keys that requests are executed for now, as often as there are such requests. */
  busy: Map<string, number>;
  /** `method target` of each request that it executed. */
  executed: string[];
  /** The process dies: connections break, the port refuses. Its session lives on until it is ended. */
  kill(): void;
  /** The agent's proof of death. */
  proveDeath(): Promise<void>;
}

export type Handler = (
  request: IncomingMessage,
  response: ServerResponse,
  host: Host,
) => void | Promise<void>;

export interface Fixture<Store extends Coordination = InMemoryCoordination> {
  coordination: Store;
  host(options?: { pool?: string; ownsResources?: boolean; handler?: Handler; name?: string }): Promise<Host>;
  /** @param store the router's own connection; default: the fixture's */
  router(settings?: Partial<RouterSettings>, store?: Coordination): Promise<Router & { uri: string }>;
  routes(routes: object[], more?: object): Promise<void>;
  dispose(): Promise<void>;
}

export function createFixture(): Promise<Fixture> {
  return createFixtureOn(createInMemoryCoordination());
}

export async function createFixtureOn<Store extends Coordination>(
  coordination: Store,
): Promise<Fixture<Store>> {
  const routers: Router[] = [];
  const hosts: Host[] = [];
  let serial = 0;

  const fixture: Fixture<Store> = {
    coordination,
    async host({
      pool = 'databases',
      ownsResources = true,
      handler = echo,
      name = `node-1-h${++serial}`,
    } = {}) {
      const host = await startHost(coordination, { pool, ownsResources, handler, name });
      hosts.push(host);
      return host;
    },
    async router(settings = {}, store = coordination) {
      const router = createRouter({
        cluster: { clusterName: 'test', secret, coordination: store },
        processId: `node-1-r${++serial}`,
        settings: { port: 0, ...settings },
        system: createSystem(),
        log: silent,
      });
      await router.start(new AbortController().signal);
      routers.push(router);
      return Object.assign(router, { uri: `http://127.0.0.1:${router.address().port}` });
    },
    async routes(routes, more = {}) {
      const pools = new Set(
        routes.map(route => (route as { componentInstanceId: string }).componentInstanceId),
      );
      const document = {
        clusterName: 'test',
        nodeServers: [],
        componentInstances: [...pools].map(id => ({ id, packageName: 'x' })),
        routes,
        ...more,
      };
      const stored = { text: JSON.stringify(document), updatedAt: '', updatedBy: 'api', fileSha256: null };
      const present = await coordination.documents.get(SETTINGS_DOCUMENT);
      await coordination.documents.put(SETTINGS_DOCUMENT, JSON.stringify(stored), present?.etag ?? null);
    },
    async dispose() {
      const at = AbortSignal.timeout(500);
      await Promise.all(routers.map(router => router.stop(at)));
      for (const host of hosts) host.kill();
      await coordination.close();
    },
  };
  await fixture.routes([{ pathPrefix: '/db', componentInstanceId: 'databases' }]);
  return fixture;
}

async function startHost(
  coordination: Coordination,
  options: { pool: string; ownsResources: boolean; handler: Handler; name: string },
): Promise<Host> {
  const { uri, server, kill } = await serveFrames({
    secret,
    serves: session => session === sessionId,
    listener: (request, response) => {
      guarded(request, response).catch(() => response.destroy()); // the router went away in the middle
    },
  });
  const { sessionId } = await coordination.directory.openSession({
    pool: options.pool as InstanceId,
    processId: options.name as ProcessId,
    nodeName: 'node-1' as NodeName,
    address: uri,
    ownsResources: options.ownsResources,
    capacity: 1,
    ttlMs: 60_000,
    attempt: 1,
  });
  const host: Host = {
    processId: options.name as ProcessId,
    sessionId,
    server,
    asked: 0,
    givingAway: new Set(),
    busy: new Map(),
    executed: [],
    kill,
    async proveDeath() {
      await coordination.directory.endSessionsOf(host.processId);
    },
  };

  async function guarded(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { headers } = request;
    const claim = options.ownsResources
      ? await coordination.directory
          .lookup(options.pool as InstanceId, headers[bridgeHeaders.resource] as ResourceKey)
          .catch(() => 'unknown' as const)
      : null;
    const right =
      headers[bridgeHeaders.session] === sessionId &&
      (claim === 'unknown' ||
        claim === null ||
        (claim.sessionId === sessionId &&
          String(claim.fence) === headers[bridgeHeaders.fence] &&
          !host.givingAway.has(claim.key)));
    host.asked += 1;
    if (!right || (claim === null && options.ownsResources)) {
      request.resume();
      response.writeHead(421, { 'content-type': 'application/json', [bridgeHeaders.refused]: 'not-owner' });
      return void response.end(JSON.stringify({ statusCode: 421, code: 'HF_NOT_OWNER', message: 'no' }));
    }
    host.executed.push(`${request.method} ${request.url}`);
    const key = String(headers[bridgeHeaders.resource]);
    host.busy.set(key, (host.busy.get(key) ?? 0) + 1);
    try {
      await options.handler(request, response, host);
    } finally {
      const left = host.busy.get(key)! - 1;
      if (left > 0) host.busy.set(key, left);
      else host.busy.delete(key);
    }
  }
  return host;
}

/** Answers with what it saw. */
export const echo: Handler = async (request, response, host) => {
  const body = await text(request);
  response.setHeader('content-type', 'application/json');
  response.end(
    JSON.stringify({
      processId: host.processId,
      method: request.method,
      url: request.url,
      headers: request.headers,
      raw: request.rawHeaders,
      key: request.headers[bridgeHeaders.resource] ?? null,
      body,
    }),
  );
};

export interface Echo {
  processId: string;
  method: string;
  url: string;
  headers: Record<string, string>;
  raw: string[];
  key: string | null;
  body: string;
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  json: <Type>() => Type;
}

/** One request over a connection of its own, the path exactly as given. */
export function ask(
  router: { address(): { port: number } },
  path: string,
  options: { method?: string; headers?: OutgoingHttpHeaders; body?: string | Buffer } = {},
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const request = httpRequest(
    {
      host: '127.0.0.1',
      port: router.address().port,
      path,
      method: options.method ?? 'GET',
      headers: options.headers ?? {},
      agent: false,
    },
    response => {
      text(response).then(
        body =>
          resolve({
            status: response.statusCode!,
            headers: response.headers,
            text: body,
            json: <Type>() => JSON.parse(body) as Type,
          }),
        reject,
      );
    },
  );
  request.on('error', reject);
  request.end(options.body);
  return promise;
}

/** What comes back for bytes put on the wire as they are, until the connection ends. */
export async function raw(router: { address(): { port: number } }, bytes: string): Promise<string> {
  const socket = connect(router.address().port, '127.0.0.1');
  socket.write(bytes, 'latin1');
  return text(socket);
}

/** Resolves when the condition holds; asks again and again, and fails after 15 s. */
export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`never came: ${what}`);
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}
