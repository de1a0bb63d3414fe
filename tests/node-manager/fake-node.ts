/**
 * A node API in this process: real HTTP, packages and processes in memory. A "ZIP" here is just the JSON of its
 * manifest, so tests can make packages of any kind and version without an archive.
 */
import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import AdmZip from 'adm-zip';
import {
  createSystem,
  HoldfastError,
  isoTime,
  LEADER_HEADER,
  type NodePressure,
  type PackageInfo,
  type ProcessInfo,
  type StartProcessRequest,
} from '#core';
import { createApi, type Api } from '#http-api';
import { silentFastifyLogger } from './silence.ts';

export interface FakeNode {
  readonly name: string;
  uri(): string;
  readonly packages: (PackageInfo & { zip: Buffer })[];
  processes: ProcessInfo[];
  /** Leader marks of all mutations. */
  readonly marks: (string | undefined)[];
  /** Throws to refuse a start; may change the process that results, or keep it waiting. */
  onStart: (packageName: string, request: StartProcessRequest, process: ProcessInfo) => void | Promise<void>;
  /** Every package that was sent to it, `name@version`. */
  readonly uploads: string[];
  /** Uploads among these that came without bytes. */
  readonly askedByDigest: string[];
  /** Throws to refuse an upload; may change what is answered. */
  onUpload: (info: PackageInfo) => PackageInfo;
  /** Addresses of the coordination store that it was handed. */
  readonly stores: unknown[];
  /** Throws to refuse one. */
  onStore: () => void;
  /** What it is short of. */
  pressure: NodePressure[];
  /** While set, no answer to a look comes before it has resolved. */
  hanging: Promise<void> | null;
  /** Throws to refuse any mutation. */
  onMutation: () => void;
  /** It accepts requests and never answers. */
  hangs: boolean;
  /** Changes what is told of a process, and tells. */
  change(processId: string, change: Partial<ProcessInfo>): void;
  /** Ends a process and tells. */
  crash(processId: string): void;
  listen(): Promise<void>;
  /** Nobody answers any more; processes stay. */
  close(): Promise<void>;
}

export function zipOf(
  packageName: string,
  packageVersion: string,
  more: Record<string, unknown> = {},
): Buffer {
  return Buffer.from(JSON.stringify({ packageName, packageVersion, kind: 'component', ...more }));
}

/** Of such a "ZIP", or of a real one. */
function manifestText(zip: Buffer): string {
  return zip.subarray(0, 2).toString() === 'PK'
    ? new AdmZip(zip).readAsText('manifest.json')
    : zip.toString();
}

export function createFakeNode(name: string, secret: string): FakeNode {
  const system = createSystem();
  const streams = new Set<ServerResponse>();
  let api: Api | null = null;
  let port = 0;
  let order = 0;

  function emit(type: string): void {
    for (const stream of streams) {
      stream.write(`event: ${type}\ndata: ${JSON.stringify({ type, at: isoTime(system.clock) })}\n\n`);
    }
  }

  const node: FakeNode = {
    name,
    uri: () => `http://127.0.0.1:${port}`,
    packages: [],
    processes: [],
    marks: [],
    onStart: () => {},
    uploads: [],
    askedByDigest: [],
    onUpload: info => info,
    stores: [],
    onStore: () => {},
    pressure: [],
    hanging: null,
    onMutation: () => {},
    hangs: false,
    change(processId, change) {
      node.processes = node.processes.map(process =>
        process.processId === processId ? { ...process, ...change } : process,
      );
      emit('process');
    },
    crash(processId) {
      node.processes = node.processes.filter(process => process.processId !== processId);
      emit('process');
    },
    async listen() {
      api = await createApi({
        title: 'fake node',
        system,
        secret,
        logger: silentFastifyLogger,
        notReady: () => null,
        metrics: () => '',
        routes,
      });
      await api.listen({ host: '127.0.0.1', port });
      port = (api.server.address() as { port: number }).port;
    },
    async close() {
      for (const stream of streams) stream.destroy();
      if (!api) return;
      const ended = api.close();
      // Also those that come or are answered while it closes: one that is kept alive would be waited for.
      const cancel = system.timers.every(20, () => api?.server.closeAllConnections());
      api.server.closeAllConnections();
      await ended;
      cancel();
      api = null;
    },
  };
  return node;

  function install(zip: Buffer, makeCurrent: boolean): { info: PackageInfo; created: boolean } {
    let manifest: PackageInfo['manifest'];
    try {
      manifest = JSON.parse(manifestText(zip)) as PackageInfo['manifest'];
    } catch {
      throw new HoldfastError('HF_PACKAGE_INVALID', 'not a ZIP', { details: { entry: 'manifest.json' } });
    }
    const { packageName, packageVersion, kind } = manifest;
    const sha256 = createHash('sha256').update(zip).digest('hex');
    const siblings = node.packages.filter(item => item.packageName === packageName);
    let present = siblings.find(item => item.packageVersion === packageVersion);
    const created = !present;
    if (present && present.sha256 !== sha256) {
      throw new HoldfastError('HF_PACKAGE_CONFLICT', `${packageName} ${packageVersion} has other bytes here`);
    }
    if (!present) {
      present = {
        packageName,
        packageVersion,
        kind,
        description: '',
        sha256,
        sizeBytes: zip.length,
        current: siblings.length === 0,
        installedAt: isoTime(system.clock),
        status: 'ok',
        manifest,
        zip,
      };
      node.packages.push(present);
    }
    if (makeCurrent) {
      for (const item of siblings) item.current = false;
      present.current = true;
    }
    const { zip: _zip, ...info } = present;
    node.uploads.push(`${packageName}@${packageVersion}`);
    return { info: node.onUpload(info), created };
  }

  function known(sha256: string): Buffer {
    const found = node.packages.find(item => item.sha256 === sha256);
    if (!found) throw new HoldfastError('HF_PACKAGE_NOT_FOUND', 'send it');
    node.askedByDigest.push(`${found.packageName}@${found.packageVersion}`);
    return found.zip;
  }

  function routes(app: Api): void {
    app.addHook('preHandler', async request => {
      if (node.hangs) await new Promise(() => {});
      if (request.method === 'GET') return;
      node.marks.push(request.headers[LEADER_HEADER] as string | undefined);
      node.onMutation();
    });
    app.addContentTypeParser('application/zip', { parseAs: 'buffer' }, (_request, body, done) =>
      done(null, body),
    );
    const list = () => node.packages.map(({ zip: _zip, ...info }) => info);
    app.get('/api/node/packages/configuration', list);
    type Upload = { Querystring: { sha256?: string } };
    app.post<Upload>('/api/node/packages', async ({ body, query }, reply) => {
      const { info, created } = install(query.sha256 ? known(query.sha256) : (body as Buffer), false);
      return reply.code(created ? 201 : 200).send(info);
    });
    app.put<Upload>(
      '/api/node/packages',
      async ({ body, query }) => install(query.sha256 ? known(query.sha256) : (body as Buffer), true).info,
    );
    app.get<{ Params: { name: string }; Querystring: { version: string } }>(
      '/api/node/packages/:name/archive',
      async ({ params, query }, reply) => {
        const found = node.packages.find(
          item => item.packageName === params.name && item.packageVersion === query.version,
        );
        if (!found) throw new HoldfastError('HF_PACKAGE_NOT_FOUND', 'no such package');
        return reply.type('application/zip').send(found.zip);
      },
    );
    app.delete<{ Params: { name: string }; Querystring: { version?: string } }>(
      '/api/node/packages/:name',
      async ({ params, query }, reply) => {
        const stay = node.packages.filter(
          item =>
            item.packageName !== params.name ||
            (query.version !== undefined && item.packageVersion !== query.version),
        );
        node.packages.splice(0, node.packages.length, ...stay);
        return reply.code(204).send();
      },
    );
    app.put('/api/node/leader', async (_request, reply) => reply.code(204).send());
    app.put('/api/node/coordination', async ({ body }) => {
      node.onStore();
      node.stores.push(body);
      return { kind: 'redis', endpoints: [], source: 'assigned' };
    });
    app.get('/api/node/condition', async () => ({ pressure: node.pressure }));
    app.get('/api/node/processes', async () => {
      await node.hanging;
      return node.processes;
    });
    app.put<{ Params: { name: string }; Body: StartProcessRequest }>(
      '/api/node/processes/:name/start',
      async ({ params, body }, reply) => {
        const same = node.processes.find(process => process.settingsId === body.settingsId);
        if (same) return reply.code(201).send(same);
        const found = node.packages.find(
          item => item.packageName === params.name && item.packageVersion === body.version,
        );
        if (!found) throw new HoldfastError('HF_PACKAGE_NOT_FOUND', `no ${params.name} ${body.version}`);
        const packageVersion = found.packageVersion;
        const process: ProcessInfo = {
          processId: `${name}-${++order}-${system.random.id(4)}`,
          pid: order,
          packageName: params.name,
          packageVersion,
          settingsId: body.settingsId ?? null,
          component: {
            packageName: params.name,
            packageVersion,
            instanceId: body.instanceId ?? params.name,
            state: 'Started',
          },
          state: 'Running',
          hostUri: null,
          startedAt: isoTime(system.clock),
          restarts: 0,
          host: { state: 'Started', health: { ready: true }, ownedKeys: 0, errors: [], publisher: null },
          lastExit: null,
        };
        await node.onStart(params.name, body, process);
        node.processes.push(process);
        emit('process');
        return reply.code(201).send(process);
      },
    );
    app.put<{ Params: { name: string; id: string } }>(
      '/api/node/processes/:name/:id/kill',
      async ({ params }) => {
        if (!node.processes.some(process => process.processId === params.id)) {
          throw new HoldfastError('HF_PROCESS_NOT_FOUND', 'no such process');
        }
        node.crash(params.id);
        return { killed: [params.id], failed: [] };
      },
    );
    app.get('/api/node/events', (_request, reply) => {
      reply.hijack();
      reply.raw.writeHead(200, { 'content-type': 'text/event-stream' });
      reply.raw.write(': connected\n\n');
      streams.add(reply.raw);
      reply.raw.on('close', () => streams.delete(reply.raw));
    });
  }
}
