import assert from 'node:assert/strict';
import { createSystem, type Message } from '#core';
import { createService } from '../../../components/web-api/service.ts';
import { deliveryOf, makeTestContext, never, started } from '../../support/component-context.ts';
import { until } from '../../support/wait.ts';

const order = {
  type: 'object',
  properties: { article: { type: 'string' }, count: { type: 'integer', minimum: 1 } },
  required: ['article'],
  additionalProperties: false,
};
const endpoints = [
  { method: 'POST', path: '/orders', messageType: 'order.placed', body: order },
  { method: 'DELETE', path: '/orders/{id}', messageType: 'order.cancelled' },
  { method: 'POST', path: '/prices/{article}', messageType: 'price.asked', body: true, reply: {} },
  { method: 'POST', path: '/prices/slow', messageType: 'price.asked', body: true, reply: { deadlineMs: 50 } },
];

describe('web-api', () => {
  async function api(settings: Record<string, unknown> = {}, publish?: (message: Message) => Promise<void>) {
    const context = await makeTestContext({
      component: 'web-api',
      dataDirectory: '/nowhere',
      settings: { prefix: '/shop', endpoints, ...settings },
      ...(publish ? { publish } : {}),
    });
    const component = createService(context, createSystem());
    const { stop } = await started(component);
    const send = async (method: string, path: string, body?: string, headers: Record<string, string> = {}) =>
      component.fetch!(
        new Request(`http://localhost${path}`, {
          method,
          ...(body === undefined ? {} : { body }),
          headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
        }),
      );
    const reply = (asked: Message, content: string, properties: Record<string, string> = {}) =>
      component.onMessage!(
        {
          messageId: `reply to ${asked.messageId}`,
          source: 'prices',
          timestamp: '',
          content,
          properties: { correlationId: asked.properties.correlationId!, ...properties },
        },
        deliveryOf(1),
      );
    return { context, send, reply, stop };
  }

  it('makes a message of a request that fits, and answers 202 with its id when it is published', async () => {
    const { send, context } = await api();
    const response = await send('POST', '/shop/orders?from=app', '{"article": "tea", "count": 2}');
    assert.equal(response.status, 202);
    const answer = (await response.json()) as { messageId: string };
    const [message] = context.published;
    assert.deepEqual(answer, { messageId: message!.messageId, messageType: 'order.placed' });
    assert.equal(message!.content, '{"article": "tea", "count": 2}');
    assert.equal(message!.properties['query.from'], 'app');
    assert.equal((await send('DELETE', '/shop/orders/caf%C3%A9')).status, 202);
    assert.equal(context.published[1]!.properties['parameter.id'], 'café');
    assert.equal(context.published[1]!.content, undefined);
  });

  it('one Idempotency-Key is one message id, for one endpoint and path', async () => {
    const { send, context } = await api();
    const key = { 'idempotency-key': 'abc' };
    await send('DELETE', '/shop/orders/1', undefined, key);
    await send('DELETE', '/shop/orders/1', undefined, key);
    await send('DELETE', '/shop/orders/2', undefined, key);
    const [first, second, third] = context.published.map(message => message.messageId);
    assert.equal(first, second);
    assert.notEqual(first, third);
  });

  it('refuses what does not fit, with the place, and publishes nothing', async () => {
    const { send, context } = await api({ bodyBytesMax: 100 });
    const refused = (code: string, message: RegExp, ...request: Parameters<typeof send>) =>
      assert.rejects(send(...request), { name: 'HoldfastError', code, message });
    await refused(
      'HF_REQUEST_INVALID',
      /\/count must be >= 1/,
      'POST',
      '/shop/orders',
      '{"article":"a","count":0}',
    );
    await refused('HF_REQUEST_INVALID', /no JSON/, 'POST', '/shop/orders', '{');
    await refused('HF_MEDIA_TYPE', /text\/plain/, 'POST', '/shop/orders', '{}', {
      'content-type': 'text/plain',
    });
    await refused('HF_REQUEST_TOO_LARGE', /100 bytes/, 'POST', '/shop/orders', `"${'x'.repeat(200)}"`);
    await refused('HF_NOT_FOUND', /\/shop\/openapi\.json/, 'POST', '/shop/nothing', '{}');
    await refused('HF_NOT_FOUND', /set prefix/, 'POST', '/shopping/orders', '{}');
    await refused('HF_NOT_FOUND', /no endpoint/, 'DELETE', '/shop/orders/%FF');
    await refused('HF_REQUEST_INVALID', /query a b/, 'DELETE', '/shop/orders/1?a%20b=1');
    const response = await send('GET', '/shop/orders');
    assert.equal(response.status, 405);
    assert.equal(response.headers.get('allow'), 'POST');
    assert.deepEqual(context.published, []);
  });

  it('waits for the reply with the id of the request, and answers with it', async () => {
    const { send, reply, context } = await api();
    assert.equal(context.subscriptions.length, 1);
    const [one, other] = [send('POST', '/shop/prices/tea', '1'), send('POST', '/shop/prices/milk', '2')];
    await until('both messages', async () => context.published.length === 2);
    const [tea, milk] = context.published;
    assert.equal(tea!.properties.replyTo, context.subscriptions[0]);
    await reply(milk!, '{"price": 1}');
    await reply(tea!, '{"unknown": true}', { status: '404' });
    assert.deepEqual(await (await other).json(), { price: 1 });
    const response = await one;
    assert.equal(response.status, 404);
    assert.deepEqual(await response.json(), { unknown: true });
    await reply(tea!, 'too late'); // nobody waits: acknowledged
  });

  it('a literal path goes before a parameter; no reply in time is HF_REPLY_TIMEOUT', async () => {
    const { send, context } = await api();
    await assert.rejects(send('POST', '/shop/prices/slow', '1'), { code: 'HF_REPLY_TIMEOUT' });
    assert.equal(context.published.length, 1);
  });

  it('takes only so many requests at once, and lets those that wait go when it stops', async () => {
    const { send, stop, context } = await api({ inFlightMax: 1 });
    const waiting = send('POST', '/shop/prices/tea', '1');
    await until('the message', async () => context.published.length === 1);
    const response = await send('DELETE', '/shop/orders/1');
    assert.equal(response.status, 503);
    assert.equal(response.headers.get('retry-after'), '1');
    const ended = assert.rejects(waiting, { code: 'HF_UNAVAILABLE' });
    await stop();
    await ended;
  });

  it('a message that cannot be published is the answer, at once', async () => {
    const { send } = await api({}, async () => {
      throw Object.assign(new Error('full'), { name: 'HoldfastError', code: 'HF_OUTBOX_FULL' });
    });
    await assert.rejects(send('DELETE', '/shop/orders/1'), { code: 'HF_OUTBOX_FULL' });
    await assert.rejects(send('POST', '/shop/prices/tea', '1'), { code: 'HF_OUTBOX_FULL' });
  });

  it('describes itself', async () => {
    const { send } = await api();
    const description = (await (await send('GET', '/shop/openapi.json')).json()) as {
      openapi: string;
      servers: object[];
      paths: Record<
        string,
        Record<string, { requestBody?: { content: Record<string, { schema: object }> } }>
      >;
    };
    assert.equal(description.openapi, '3.1.0');
    assert.deepEqual(description.servers, [{ url: '/shop' }]);
    assert.deepEqual(Object.keys(description.paths), [
      '/orders',
      '/orders/{id}',
      '/prices/{article}',
      '/prices/slow',
    ]);
    const schema = description.paths['/orders']!.post!.requestBody!.content['application/json']!.schema;
    assert.deepEqual(schema, order);
  });

  it('refuses settings of which something could never be reached, or is no schema', async () => {
    const refused = async (second: object, message: RegExp) => {
      const context = await makeTestContext({
        component: 'web-api',
        dataDirectory: '/nowhere',
        settings: { endpoints: [{ method: 'POST', path: '/a/{x}', messageType: 'a' }, second] },
      });
      await assert.rejects(createService(context, createSystem()).start(never), {
        code: 'HF_SETTINGS_INVALID',
        message,
      });
    };
    await refused({ method: 'POST', path: '/a/{y}', messageType: 'b' }, /same requests/);
    await refused(
      { method: 'POST', path: '/b', messageType: 'b', body: { type: 'thing' } },
      /no JSON Schema/,
    );
    await refused({ method: 'GET', path: '/b', messageType: 'b', body: {} }, /has no body/);
  });
});
