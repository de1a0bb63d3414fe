/** The component as its host would run it, with a context made here and real files. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseManifest, type Component, type ComponentContext, type ResourceHandler } from '#core';

export const componentFolder = join(import.meta.dirname, '../../../components/sqlite-service');

export interface Answer {
  status: number;
  body: {
    worker?: string;
    database?: string;
    results?: Record<string, unknown>[];
    changes?: number;
    lastInsertRowid?: number | string | null;
    code?: string;
    message?: string;
    details?: Record<string, unknown>;
    [name: string]: unknown;
  };
}

export interface Owned {
  handler: ResourceHandler;
  /** Ends the right to the key, as a lost session does. */
  lose(): void;
  send(body: unknown, contentType?: string): Promise<Answer>;
  sql(text: string): Promise<Answer>;
  get(search?: string): Promise<Answer>;
}

export interface Service {
  component: Component;
  directory: string;
  open(key: string, fence: bigint, options?: { hadOwner?: boolean }): Promise<Owned>;
  stop(): Promise<void>;
}

export async function temporaryFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'holdfast-sqlite-'));
}

export async function removeFolder(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 5 });
}

export async function defaultSettings(): Promise<Record<string, unknown>> {
  return parseManifest(await readFile(join(componentFolder, 'manifest.json'), 'utf8')).defaultConfiguration;
}

/** @param entry the module to load; default: the folder's main.ts */
export async function startService(
  directory: string,
  settings: Record<string, unknown> = {},
  options: { entry?: string; processId?: string } = {},
): Promise<Service> {
  const entry = options.entry ?? join(componentFolder, 'main.ts');
  const { default: create } = (await import(entry)) as {
    default: (context: ComponentContext) => Component;
  };
  const component = create(
    makeContext(directory, { ...(await defaultSettings()), ...settings }, options.processId ?? 'host-1'),
  );
  await component.start(new AbortController().signal);
  return {
    component,
    directory,
    stop: () => component.stop(new AbortController().signal),
    async open(key, fence, { hadOwner } = {}) {
      const right = new AbortController();
      const handler = await component.openResource!({
        key,
        fence,
        signal: right.signal,
        ...(hadOwner === undefined ? {} : { hadOwner }),
        assertOwned() {
          if (right.signal.aborted) throw notOwner();
        },
        alarm: () => Promise.reject(new Error('not used')),
      });
      const uri = `http://localhost${key}`;
      const fetch = async (request: Request): Promise<Answer> => {
        const response = await handler.fetch(request);
        return { status: response.status, body: (await response.json()) as Answer['body'] };
      };
      const send = (body: unknown, contentType = 'application/json') =>
        fetch(
          new Request(uri, {
            method: 'POST',
            headers: contentType === '' ? {} : { 'content-type': contentType },
            body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
          } as RequestInit),
        );
      return {
        handler,
        lose: () => right.abort(),
        send,
        sql: text => send(text, 'application/sql'),
        get: (search = '') => fetch(new Request(uri + search)),
      };
    },
  };
}

export function makeContext(
  dataDirectory: string,
  settings: Record<string, unknown>,
  processId: string,
): ComponentContext {
  const silent = (): void => {};
  return {
    name: 'sqlite-service',
    instanceId: 'databases',
    processId,
    nodeName: 'node-1',
    settings: settings as ComponentContext['settings'],
    log: { debug: silent, info: silent, warn: silent, error: silent },
    dataDirectory,
    subscribe: silent,
    reportHealth: silent,
    get publisher(): never {
      throw new Error('not used');
    },
    get notes(): never {
      throw new Error('not used');
    },
    get leases(): never {
      throw new Error('not used');
    },
    resource(): never {
      throw new Error('not used');
    },
  };
}

function notOwner(): Error {
  return Object.assign(new Error('not the owner'), { name: 'HoldfastError', code: 'HF_NOT_OWNER' });
}
