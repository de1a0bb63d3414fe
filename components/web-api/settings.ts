/** The endpoints, compiled. The host has checked the settings against the manifest's schema and filled in the defaults. */
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import type { Json, Settings } from '#core';

export interface Endpoint {
  method: string;
  /** As declared, for example `/orders/{id}`. */
  path: string;
  segments: Segment[];
  messageType: string;
  description: string | null;
  /** Null: the endpoint takes no body. */
  body: { schema: Json; validate: ValidateFunction } | null;
  /** Null: answers 202 as soon as the message is published. */
  reply: { deadlineMs: number } | null;
}

export type Segment = { type: 'literal'; text: string } | { type: 'parameter'; name: string };

export interface ApiSettings {
  /** Without a slash at its end; '' for a route at the root. */
  prefix: string;
  endpoints: Endpoint[];
  bodyBytesMax: number;
  inFlightMax: number;
}

/** As the manifest declares them. */
interface Declared extends Omit<ApiSettings, 'endpoints'> {
  endpoints: {
    method: string;
    path: string;
    messageType: string;
    description?: string;
    body?: Json;
    reply?: { deadlineMs?: number };
  }[];
}

const replyDeadlineMs = 10_000;

/** @throws HF_SETTINGS_INVALID that names the endpoint and what is wrong with it */
export function readSettings(settings: Settings): ApiSettings {
  const { prefix, endpoints, ...others } = settings as unknown as Declared;
  const shapes = new Set<string>();
  return {
    ...others,
    prefix: prefix.replace(/\/+$/, ''),
    endpoints: endpoints.map((declared, index): Endpoint => {
      const { method, path, messageType, description = null, body, reply } = declared;
      const at = `endpoints[${index}] (${method} ${path})`;
      const segments = segmentsOf(path);
      const shape = `${method} ${segments.map(segment => (segment.type === 'literal' ? segment.text : '{}')).join('/')}`;
      if (shapes.has(shape)) throw invalid(`${at}: another endpoint takes the same requests`);
      shapes.add(shape);
      if (path === '/openapi.json')
        throw invalid(`${at}: this path is taken by the description of the endpoints`);
      if (body !== undefined && method === 'GET')
        throw invalid(`${at}: a GET has no body; take POST, or leave body out`);
      return {
        method,
        path,
        segments,
        messageType,
        description,
        body: body === undefined ? null : { schema: body, validate: compile(at, body) },
        reply: reply ? { deadlineMs: reply.deadlineMs ?? replyDeadlineMs } : null,
      };
    }),
  };
}

function segmentsOf(path: string): Segment[] {
  return path
    .split('/')
    .slice(1)
    .map(text => {
      const name = /^\{(.+)\}$/.exec(text)?.[1];
      return name === undefined ? { type: 'literal', text } : { type: 'parameter', name };
    });
}

function compile(at: string, schema: Json): ValidateFunction {
  try {
    // One error is enough to refuse, and a hostile body cannot make many. Formats are annotations, as the standard has them.
    const ajv = new Ajv2020({ allErrors: false, strict: false, validateFormats: false });
    return ajv.compile(schema as object | boolean);
  } catch (error) {
    throw invalid(`${at}: body is no JSON Schema: ${(error as Error).message}`);
  }
}

function invalid(message: string): Error {
  return Object.assign(new Error(message), { name: 'HoldfastError', code: 'HF_SETTINGS_INVALID' });
}
