/** The OpenAPI description of the endpoints. Pure. */
import type { Json } from '#core';
import type { ApiSettings, Endpoint } from './settings.ts';

export function describeApi(title: string, { prefix, endpoints }: ApiSettings): Json {
  const paths: Record<string, Record<string, Json>> = {};
  for (const endpoint of endpoints) {
    (paths[endpoint.path] ??= {})[endpoint.method.toLowerCase()] = operation(endpoint);
  }
  return {
    openapi: '3.1.0',
    info: { title, version: '1.0.0' },
    servers: [{ url: prefix === '' ? '/' : prefix }],
    paths,
    components: {
      schemas: {
        Accepted: {
          type: 'object',
          properties: { messageId: { type: 'string' }, messageType: { type: 'string' } },
          required: ['messageId', 'messageType'],
        },
        Error: {
          type: 'object',
          properties: {
            statusCode: { type: 'integer' },
            error: { type: 'string' },
            code: { type: 'string' },
            message: { type: 'string' },
            details: {},
          },
        },
      },
    },
  };
}

function operation({ messageType, description, segments, body, reply }: Endpoint): Json {
  const parameters: Json[] = segments.flatMap(segment =>
    segment.type === 'parameter'
      ? [{ name: segment.name, in: 'path', required: true, schema: { type: 'string' } }]
      : [],
  );
  parameters.push({
    name: 'Idempotency-Key',
    in: 'header',
    description: 'the same key again means the same message',
    schema: { type: 'string', maxLength: 256 },
  });
  const refusals: [string, string][] = [
    ['400', 'the body does not fit the schema'],
    ['413', 'the body is too large'],
    ['503', 'too many requests are under way, or the message could not be published'],
  ];
  if (body) refusals.push(['415', 'the body is no JSON']);
  if (reply) refusals.push(['504', 'the message was published, but no reply came in time']);
  const accepted: [string, Json] = reply
    ? ['200', { description: 'the reply' }]
    : ['202', { description: 'the message is published', content: json('#/components/schemas/Accepted') }];
  return {
    description: description ?? `publishes a message of type ${messageType}`,
    parameters,
    ...(body
      ? { requestBody: { required: true, content: { 'application/json': { schema: body.schema } } } }
      : {}),
    responses: Object.fromEntries([
      accepted,
      ...refusals.map(([status, meaning]): [string, Json] => [
        status,
        { description: meaning, content: json('#/components/schemas/Error') },
      ]),
    ]),
  };
}

function json(reference: string): Json {
  return { 'application/json': { schema: { $ref: reference } } };
}
