/** What the contract's tests share: calls as a stranger makes them, the shapes that hold everywhere, and small packages. */
import assert from 'node:assert/strict';
import { request as httpRequest, STATUS_CODES, type IncomingHttpHeaders } from 'node:http';
import { buffer } from 'node:stream/consumers';
import type { ApiEvent, ErrorBody, Problem } from '#core';
import { makePackage } from '../../support/make-package.ts';

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  /** The parsed body if it is JSON. */
  json: unknown;
}

export interface CallOptions {
  /** Sent as JSON unless it is a buffer or text. */
  body?: unknown;
  headers?: Record<string, string>;
}

export type Call = (method: string, path: string, options?: CallOptions) => Promise<Answer>;

/** One request with the path sent as it is written: `fetch` would resolve its dot segments. */
export async function send(uri: string, method: string, path: string, options: CallOptions = {}) {
  const { body } = options;
  const raw = body === undefined || typeof body === 'string' || Buffer.isBuffer(body);
  const payload = raw ? body : JSON.stringify(body);
  const { hostname, port } = new URL(uri);
  const headers = {
    ...(raw ? {} : { 'content-type': 'application/json' }),
    ...(payload === undefined ? {} : { 'content-length': String(Buffer.byteLength(payload)) }),
    ...options.headers,
  };
  const response = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
    const request = httpRequest({ hostname, port, method, path, headers, agent: false }, resolve);
    request.once('error', reject);
    request.end(payload);
  });
  const text = (await buffer(response)).toString();
  const isJson = response.headers['content-type']?.startsWith('application/json') && text !== '';
  const json = (isJson ? JSON.parse(text) : undefined) as unknown;
  return { status: response.statusCode!, headers: response.headers, text, json } satisfies Answer;
}

/** Calls with a token, and checks what holds for every answer of every API. */
export function callerOf(uri: string, token: string): Call {
  return async (method, path, options = {}) => {
    const headers = { authorization: `Bearer ${token}`, ...options.headers };
    const answer = await send(uri, method, path, { ...options, headers });
    assert(answer.headers['x-request-id'], `${method} ${path} has no x-request-id`);
    if (answer.status >= 400) assertErrorShape(answer, `${method} ${path}`);
    else if (answer.json !== undefined) assertTimes(answer.json, `${method} ${path}`);
    return answer;
  };
}

/** `{"statusCode","error","code","message","details"?}` and nothing else. */
export function assertErrorShape(answer: Answer, what: string): void {
  assert.match(String(answer.headers['content-type']), /^application\/json/, what);
  const { statusCode, error, code, message, details, ...rest } = answer.json as Record<string, unknown>;
  assert.equal(statusCode, answer.status, what);
  assert.equal(error, STATUS_CODES[answer.status], what);
  assert.match(String(code), /^HF_[A-Z_]+$/, what);
  assert(typeof message === 'string' && message !== '', what);
  assert(details === undefined || typeof details === 'object', what);
  assert.deepEqual(rest, {}, what);
}

/** @param code one that fits, or several */
export function assertRefused(answer: Answer, status: number, ...codes: string[]): void {
  assert.equal(answer.status, status, answer.text);
  assertErrorShape(answer, answer.text);
  const { code } = answer.json as ErrorBody;
  if (codes.length > 0) assert(codes.includes(code), answer.text);
}

/** The first problem that a refusal lists: where, what is there, what was expected. */
export function firstProblem(answer: Answer): Problem | undefined {
  const { problems } = (answer.json as ErrorBody).details as { problems: Problem[] };
  return problems[0];
}

export function assertOk<Shape = unknown>(answer: Answer, status = 200): Shape {
  assert.equal(answer.status, status, answer.text);
  return answer.json as Shape;
}

/** A list is an array, and each of its items has these fields. */
export function assertList<Item extends object>(answer: Answer, ...fields: string[]): Item[] {
  const list = assertOk<Item[]>(answer);
  assert(Array.isArray(list), answer.text);
  for (const item of list) for (const field of fields) assert(field in item, `${field} in ${answer.text}`);
  return list;
}

const timeName = /(?:^at|At|^lastSeen)$/;

/** Every time in an answer is ISO 8601 in UTC. */
function assertTimes(value: unknown, what: string): void {
  if (typeof value !== 'object' || value === null) return;
  for (const [name, inner] of Object.entries(value)) {
    if (timeName.test(name) && typeof inner === 'string') {
      assert.match(inner, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/, `${name} in ${what}`);
    } else if (name !== 'manifest') assertTimes(inner, what);
  }
}

/** A form with one file, made by hand. */
export function form(zip: Buffer, field = 'package') {
  const boundary = '----holdfast-contract';
  const head = `--${boundary}\r\ncontent-disposition: form-data; name="${field}"; filename="p.zip"\r\ncontent-type: application/zip\r\n\r\n`;
  return {
    body: Buffer.concat([Buffer.from(head), zip, Buffer.from(`\r\n--${boundary}--\r\n`)]),
    headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
  };
}

export function raw(zip: Buffer) {
  return { body: zip, headers: { 'content-type': 'application/zip' } };
}

const code = (version: string) => `
  export default function create(context) {
    const who = () => ({
      owner: context.processId, instance: context.instanceId, version: ${JSON.stringify(version)},
      settings: context.settings, secret: process.env.SECRET ?? null,
    });
    async function answer(request, key) {
      const { searchParams } = new URL(request.url);
      if (searchParams.has('die')) process.kill(process.pid, 'SIGKILL');
      if (searchParams.has('delayMs')) await new Promise(done => setTimeout(done, Number(searchParams.get('delayMs'))));
      return Response.json({
        ...who(), key, method: request.method, url: request.url, headers: Object.fromEntries(request.headers), body: await request.text(),
      });
    }
    return {
      async start() {},
      async stop() {},
      openResource: async resource => ({ fetch: request => answer(request, resource.key), async close() {} }),
    };
  }`;

const configurationSchema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    greeting: { type: 'string' },
    password: { type: 'string' },
    port: { type: 'integer' },
    directory: { type: 'string' },
  },
};

/** A component that owns resources and tells all that it was given. */
export function echoPackage(
  version: string,
  { packageName = 'contract-echo', ...more }: Record<string, unknown> & { packageName?: string } = {},
): Buffer {
  return makePackage(
    {
      packageName,
      packageVersion: version,
      kind: 'component',
      description: 'Echo.',
      contentRoot: 'content',
      main: 'index.js',
      defaultConfiguration: { greeting: 'hello' },
      configurationSchema,
      ...more,
    },
    { 'content/index.js': code(version) },
  );
}

/** The same, in the spelling of the manifests of old. */
export function olderPackage(version: string): Buffer {
  return makePackage(
    {
      name: 'contract-older',
      version,
      componentType: 'component',
      contentRoot: 'content',
      main: 'index.js',
      extensionProperties: { greeting: 'good day' },
    },
    { 'content/index.js': code(version) },
  );
}

/** A publisher that forgets. */
export function publisherPackage(): Buffer {
  return makePackage(
    {
      packageName: 'contract-publisher',
      packageVersion: '1.0.0',
      kind: 'publisher',
      contentRoot: 'content',
      main: 'index.js',
      configurationSchema: { type: 'object', properties: { topic: { type: 'string' } } },
    },
    {
      'content/index.js': `
        export default function create(context) {
          return {
            name: 'contract-publisher', instanceId: context.instanceId, state: 'stopped',
            async start() { this.state = 'started'; },
            async stop() { this.state = 'stopped'; },
            async publish() {},
          };
        }`,
    },
  );
}

/** What every API has beside its own routes. */
export async function assertCommonRoutes(uri: string, token: string, paths: string[]): Promise<void> {
  for (const path of ['/health/live', '/health/ready']) {
    assertOk(await send(uri, 'GET', path));
  }
  for (const path of ['/openapi.json', '/metrics', paths[0]!.split(' ')[1]!, '/api/nothing-here']) {
    assertRefused(await send(uri, 'GET', path), 401, 'HF_UNAUTHENTICATED');
    const wrong = { headers: { authorization: 'Bearer not-the-token-of-this-cluster' } };
    assertRefused(await send(uri, 'GET', path, wrong), 401, 'HF_UNAUTHENTICATED');
  }
  const call = callerOf(uri, token);
  assertRefused(await call('GET', '/api/nothing-here'), 404, 'HF_NOT_FOUND');
  const metrics = await call('GET', '/metrics');
  assert.equal(metrics.status, 200);
  assert.match(String(metrics.headers['content-type']), /^text\/plain/);
  assert.match(metrics.text, /^# (?:HELP|TYPE) /m);
  assertOpenApi(assertOk<OpenApi>(await call('GET', '/openapi.json')), paths);
}

interface OpenApi {
  openapi: string;
  info: { title: string; version: string };
  paths: Record<string, Record<string, Operation>>;
}

interface Operation {
  parameters?: { in: string; name: string; required?: boolean; schema?: object }[];
  responses: Record<string, { description: string }>;
}

/** Lists every path of the contract, and is a document that a generator of clients can read. */
function assertOpenApi(document: OpenApi, paths: string[]): void {
  assert.match(document.openapi, /^3\./);
  assert(document.info.title && document.info.version);
  const operations = new Set<string>();
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      operations.add(`${method.toUpperCase()} ${path}`);
      const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
      const declared = (operation.parameters ?? []).filter(item => item.in === 'path');
      assert.deepEqual(new Set(declared.map(item => item.name)), new Set(named), `${method} ${path}`);
      assert(
        declared.every(item => item.required && item.schema),
        `${method} ${path}`,
      );
      const responses = Object.entries(operation.responses);
      assert(responses.length > 0, `${method} ${path} has no responses`);
      for (const [, response] of responses) assert.equal(typeof response.description, 'string');
    }
  }
  for (const path of paths)
    assert(operations.has(path), `${path} is not in /openapi.json: ${[...operations].join('\n')}`);
}

/** Reads server-sent events until one passes the test. */
export async function nextEvent(
  uri: string,
  token: string,
  path: string,
  matches: (event: ApiEvent) => boolean,
  act: () => Promise<unknown>,
): Promise<ApiEvent> {
  const response = await fetch(uri + path, {
    headers: { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(20_000),
  });
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type')!, /^text\/event-stream/);
  await act();
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body!) {
    text += decoder.decode(chunk, { stream: true });
    for (const [, data] of text.matchAll(/^data: (.*)\n\n/gm)) {
      const event = JSON.parse(data!) as ApiEvent;
      if (matches(event)) return event; // which ends the stream, too
    }
  }
  throw new Error(`the stream ended without the event: ${text}`);
}
