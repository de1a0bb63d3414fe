/** A node agent on a folder of its own, with a coordinator in this process, and what tests ask it. */
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import {
  createSystem,
  isRunning,
  processIdentity,
  type Coordination,
  type ProcessIdentity,
  type ProcessInfo,
} from '#core';
import { startNodeAgent, type NodeAgent, type NodeAgentOptions } from '#node-api';
import { connectCoordination, coordinationAddress, startCoordinator, type Coordinator } from '#ownership';
import { makePackage } from '../support/make-package.ts';

export const secret = 'a-secret-of-at-least-sixteen-characters';
export const system = createSystem();
export const fixtureHost = join(import.meta.dirname, '../fixtures/node-api/fixture-host.mjs');

export interface Answer<Body> {
  status: number;
  body: Body;
  headers: Headers;
}

export interface Workplace {
  stateRoot: string;
  dataDirectory: string;
  coordination: Coordination;
  /** Starts an agent; `dispose` closes it. */
  agent(options?: Partial<NodeAgentOptions>): Promise<AgentClient>;
  /** Waits until the condition gives something. */
  until<Value>(what: string, look: () => Value | Promise<Value>): Promise<NonNullable<Value>>;
  dispose(): Promise<void>;
}

export interface AgentClient {
  agent: NodeAgent;
  call<Body = unknown>(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Answer<Body>>;
  upload(zip: Buffer, method?: 'POST' | 'PUT'): Promise<Answer<Record<string, unknown>>>;
  start(packageName: string, body?: unknown): Promise<Answer<ProcessInfo>>;
  processes(all?: boolean): Promise<ProcessInfo[]>;
  kill(path: string, graceMs?: number): Promise<Answer<{ killed: string[]; failed: unknown[] }>>;
}

export async function createWorkplace(): Promise<Workplace> {
  const stateRoot = await mkdtemp(join(tmpdir(), 'hf-node-'));
  const dataDirectory = join(stateRoot, 'nodes/node-1');
  await mkdir(join(stateRoot, 'secrets'), { mode: 0o700 });
  const coordinator: Coordinator = await startCoordinator({ stateRoot, system });
  const coordination = await connectCoordination(coordinationAddress(stateRoot), { system });
  const agents: NodeAgent[] = [];
  let disposed = false;

  return {
    stateRoot,
    dataDirectory,
    coordination,
    async agent(options = {}) {
      // A test that has failed already goes on to its end: it must not leave an agent behind.
      if (disposed) throw new Error('the test is over');
      const agent = await startNodeAgent({
        nodeName: 'node-1',
        listen: { host: '127.0.0.1', port: 0 },
        dataDirectory,
        stateRoot,
        secret,
        system,
        log: pino({ level: 'silent' }),
        warmSpares: 0,
        ...options,
      });
      agents.push(agent);
      return { agent, ...clientOf(agent.uri) };
    },
    until,
    async dispose() {
      disposed = true;
      for (const agent of agents) await agent.close({ stopHosts: true });
      await coordination.close();
      await coordinator.close();
      await rm(stateRoot, { recursive: true, force: true });
    },
  };
}

export function clientOf(uri: string): Omit<AgentClient, 'agent'> {
  async function call<Body>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<Body>> {
    const response = await fetch(`${uri}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${secret}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined
        ? {}
        : { body: Buffer.isBuffer(body) ? new Uint8Array(body) : JSON.stringify(body) }),
    });
    const text = await response.text();
    const json = response.headers.get('content-type')?.includes('json');
    return {
      status: response.status,
      body: (json ? JSON.parse(text) : text) as Body,
      headers: response.headers,
    };
  }
  return {
    call,
    upload: (zip, method = 'POST') =>
      call(method, '/api/node/packages', zip, { 'content-type': 'application/zip' }),
    start: (packageName, body = {}) => call('PUT', `/api/node/processes/${packageName}/start`, body),
    async processes(all = false) {
      return (await call<ProcessInfo[]>('GET', `/api/node/processes${all ? '?all=true' : ''}`)).body;
    },
    kill: (path, graceMs) =>
      call('PUT', `/api/node/processes/${path}`, graceMs === undefined ? {} : { graceMs }),
  };
}

/** The fixture host as a package of kind host. */
export function hostPackage(version = '1.0.0', behaviour: object = {}): Buffer {
  return makePackage(
    { packageName: 'component-host', packageVersion: version, kind: 'host', main: 'index.mjs' },
    {
      'content/index.mjs': readFileSync(fixtureHost),
      'content/behaviour.json': JSON.stringify(behaviour),
    },
  );
}

/** A component package; the fixture host does not load it, so it needs no code. */
export function componentPackage(name = 'worker', version = '1.0.0', manifest: object = {}): Buffer {
  return makePackage(
    { packageName: name, packageVersion: version, kind: 'component', main: 'index.js', ...manifest },
    { 'content/index.js': 'export default () => ({ async start() {}, async stop() {} });' },
  );
}

export async function writeSecret(stateRoot: string, name: string, value: string): Promise<void> {
  await writeFile(join(stateRoot, 'secrets', name), value, { mode: 0o600 });
}

/** Polls: for what has no event of its own. */
export async function until<Value>(
  what: string,
  look: () => Value | Promise<Value>,
): Promise<NonNullable<Value>> {
  const deadlineMs = system.clock.monotonicMs() + 15_000;
  for (;;) {
    const value = await look();
    if (value) return value;
    if (system.clock.monotonicMs() > deadlineMs) throw new Error(`waited in vain: ${what}`);
    await system.timers.sleep(10);
  }
}

export function identityOf(pid: number | null): ProcessIdentity {
  const identity = pid === null ? null : processIdentity(pid);
  if (!identity) throw new Error(`no process ${pid}`);
  return identity;
}

export async function untilGone(identity: ProcessIdentity): Promise<void> {
  await until(`the end of ${identity.pid}`, () => !isRunning(identity));
}
