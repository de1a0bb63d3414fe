/**
 * The component: a request that fits becomes a message; the answer is 202 as soon as it is published, or what comes back. Any number of copies answer; a
 * reply finds the copy that waits because the message names a type for replies that only this process asks for.
 */
import { createHash } from 'node:crypto';
import { isoTime, type Component, type ComponentContext, type Message, type System } from '#core';
import { readBody } from './body.ts';
import { match } from './matching.ts';
import { describeApi } from './openapi.ts';
import { refuse } from './refusal.ts';
import { createReplies } from './replies.ts';
import { readSettings, type ApiSettings, type Endpoint } from './settings.ts';

const repliesAtOnce = 100;
const queryMax = 32;
const valueLengthMax = 1_024;
const idempotencyKeyMax = 256;

export function createService(context: ComponentContext, system: System): Component {
  const replies = createReplies(system);
  const replyType = `reply.${context.instanceId}.${context.processId}`.replace(/[^A-Za-z0-9_.-]/g, '-');
  const ending = new AbortController();
  let settings: ApiSettings;
  let openApi: string;
  let inFlight = 0;

  async function answer(request: Request, path: string, url: URL): Promise<Response> {
    const found = match(settings.endpoints, request.method, path);
    if (found.type === 'none')
      throw refuse('HF_NOT_FOUND', `no endpoint has the path ${path}; see ${settings.prefix}/openapi.json`);
    if (found.type === 'other-method') return otherMethod(request.method, found.allow);
    const { endpoint, parameters } = found;
    const { body, reply } = endpoint;
    const content = body ? await readBody(request, body.validate, settings.bodyBytesMax) : null;
    const messageId = idOf(request, endpoint, path);
    const message: Message = {
      messageId,
      source: context.instanceId,
      timestamp: isoTime(system.clock),
      messageType: endpoint.messageType,
      ...(content === null ? {} : { content, contentType: 'application/json' }),
      properties: {
        ...named('parameter', Object.entries(parameters)),
        ...named('query', [...url.searchParams]),
        correlationId: messageId,
        ...(reply ? { replyTo: replyType } : {}),
      },
    };
    if (!reply) {
      await context.publisher.publish(message);
      return Response.json({ messageId, messageType: endpoint.messageType }, { status: 202 });
    }
    const publishing = new AbortController();
    const signal = AbortSignal.any([request.signal, ending.signal, publishing.signal]);
    const replied = replies.wait(messageId, reply.deadlineMs, signal);
    // When publishing fails, that is the answer; the waiting ends with it.
    replied.catch(() => {});
    try {
      await context.publisher.publish(message);
    } catch (error) {
      publishing.abort(error);
      throw error;
    }
    return toResponse(await replied);
  }

  function idOf(request: Request, { method }: Endpoint, path: string): string {
    const key = request.headers.get('idempotency-key');
    if (key === null) return `${context.instanceId}-${system.random.id(20)}`;
    if (key === '' || key.length > idempotencyKeyMax) {
      throw refuse('HF_REQUEST_INVALID', `Idempotency-Key: expected 1 to ${idempotencyKeyMax} characters`);
    }
    return `${context.instanceId}-${createHash('sha256').update(`${method} ${path} ${key}`).digest('hex').slice(0, 40)}`;
  }

  return {
    async start() {
      settings = readSettings(context.settings);
      openApi = JSON.stringify(describeApi(context.instanceId, settings), null, 2);
      if (settings.endpoints.some(({ reply }) => reply)) {
        context.subscribe(replyType, { concurrency: repliesAtOnce });
      }
    },
    async stop() {
      ending.abort(refuse('HF_UNAVAILABLE', 'the component stops'));
    },
    async fetch(request) {
      const url = new URL(request.url);
      const { prefix } = settings;
      if (!`${url.pathname}/`.startsWith(`${prefix}/`)) {
        throw refuse(
          'HF_NOT_FOUND',
          `${url.pathname} is not below ${prefix}; set prefix to that of the route`,
        );
      }
      const path = url.pathname.slice(prefix.length) || '/';
      if (path === '/openapi.json' && request.method === 'GET') {
        return new Response(openApi, { headers: { 'content-type': 'application/json' } });
      }
      if (inFlight >= settings.inFlightMax) {
        return problem(503, 'HF_CAPACITY', `${inFlight} requests are under way, as many as are taken`, {
          'retry-after': '1',
        });
      }
      inFlight++;
      try {
        return await answer(request, path, url);
      } finally {
        inFlight--;
      }
    },
    async onMessage(message) {
      if (!replies.arrived(message)) {
        context.log.info(
          { messageId: message.messageId, correlationId: message.properties.correlationId },
          'a reply came too late',
        );
      }
    },
  };
}

function named(kind: string, pairs: readonly (readonly [string, string])[]): Record<string, string> {
  if (pairs.length > queryMax) throw refuse('HF_REQUEST_INVALID', `more than ${queryMax} of ${kind}`);
  return Object.fromEntries(
    pairs.map(([name, value]) => {
      if (!/^[A-Za-z0-9_-]{1,64}$/.test(name) || value.length > valueLengthMax) {
        const shown = name.slice(0, 64);
        throw refuse(
          'HF_REQUEST_INVALID',
          `${kind} ${shown}: expected a name of 1 to 64 letters, digits, _ and -, and a value of at most ${valueLengthMax} characters`,
        );
      }
      return [`${kind}.${name}`, value];
    }),
  );
}

/** The property `status` of a reply becomes the answer's. */
function toResponse({
  content = '',
  bytes,
  contentType = 'application/json',
  properties,
}: Message): Response {
  const status = /^[2-5]\d\d$/.test(properties.status ?? '') ? Number(properties.status) : 200;
  const isEmpty = status === 204 || status === 205 || status === 304;
  const body = isEmpty ? null : bytes ? Buffer.from(bytes) : content;
  return new Response(body, { status, headers: isEmpty ? {} : { 'content-type': contentType } });
}

function otherMethod(method: string, allow: string[]): Response {
  return problem(405, 'HF_METHOD_NOT_ALLOWED', `${method} is not what this path takes`, {
    allow: allow.join(', '),
  });
}

function problem(
  statusCode: number,
  code: string,
  message: string,
  headers: Record<string, string>,
): Response {
  const error = { 405: 'Method Not Allowed', 503: 'Service Unavailable' }[statusCode] ?? 'Error';
  return Response.json({ statusCode, error, code, message, details: {} }, { status: statusCode, headers });
}
