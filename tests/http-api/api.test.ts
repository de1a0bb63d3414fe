import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { Writable } from 'node:stream';
import pino from 'pino';
import { createFakeSystem, HoldfastError, type ErrorBody } from '#core';
import { createApi, issueToken, type Api, type Scope } from '#http-api';

const secret = 'the-cluster-secret-of-this-test';
const system = createFakeSystem();

describe('HTTP API', () => {
  let api: Api;
  let base: string;
  let notReady: string | null = null;
  let logged = '';
  let registered = 0;

  before(async () => {
    const log = new Writable({
      write(chunk: Buffer, _encoding, done) {
        logged += chunk.toString();
        done();
      },
    });
    api = await createApi({
      title: 'Test API',
      system,
      secret,
      logger: pino({}, log),
      notReady: () => notReady,
      metrics: () => 'things_total 3\n',
      bodyLimitBytes: 1_000,
      routes(app) {
        registered++;
        for (const scope of ['read', 'deploy', 'admin'] as const) {
          app.get(`/${scope}`, { config: { scope } }, () => ({ scope }));
        }
        app.get('/forgotten', () => ({}));
        app.get('/public', { config: { scope: 'public' } }, () => ({}));
        app.get('/parameter/:name', { config: { scope: 'read' } }, request => request.params);
        app.post('/echo', { config: { scope: 'read' } }, request => request.body);
        app.post('/bodiless', { config: { scope: 'read' } }, request => ({ had: typeof request.body }));
        app.post(
          '/typed',
          {
            config: { scope: 'read' },
            schema: {
              body: {
                type: 'object',
                required: ['name'],
                additionalProperties: false,
                properties: {
                  name: { type: 'string' },
                  list: { type: 'array', items: { type: 'integer' } },
                  password: { type: 'string', minLength: 50 },
                },
              },
            },
          },
          () => ({}),
        );
        app.get('/fails', { config: { scope: 'read' } }, () => {
          throw new Error('a private detail');
        });
        app.get('/conflict', { config: { scope: 'read' } }, () => {
          throw new HoldfastError('HF_PACKAGE_CONFLICT', 'there already', { details: { name: 'x' } });
        });
        app.get('/busy', { config: { scope: 'read' } }, () => {
          throw Object.assign(new Error('later'), { name: 'HoldfastError', code: 'HF_UNAVAILABLE' });
        });
      },
    });
    base = await api.listen({ host: '127.0.0.1', port: 0 });
  });
  beforeEach(() => {
    logged = '';
    notReady = null;
  });
  after(() => api.close());

  type Init = Omit<RequestInit, 'headers'> & { headers?: Record<string, string> };
  const call = (path: string, token: string | null = secret, init: Init = {}) =>
    fetch(base + path, {
      ...init,
      headers: { ...(token === null ? {} : { authorization: `Bearer ${token}` }), ...init.headers },
    });

  async function errorOf(response: Response): Promise<ErrorBody> {
    assert.match(response.headers.get('content-type')!, /^application\/json/);
    const body = (await response.json()) as ErrorBody;
    assert.equal(body.statusCode, response.status);
    assert.equal(typeof body.error, 'string');
    assert.equal(typeof body.message, 'string');
    return body;
  }

  describe('who may call', () => {
    const scopes: Scope[] = ['read', 'deploy', 'admin'];

    it('lets a scope do what it includes, and nothing above it', async () => {
      for (const [mine, has] of scopes.entries()) {
        const token = issueToken(secret, has, 0);
        for (const [theirs, needs] of scopes.entries()) {
          const response = await call(`/${needs}`, token);
          assert.equal(response.status, mine >= theirs ? 200 : 403, `${has} for ${needs}`);
          if (mine < theirs) {
            const { code, message } = await errorOf(response);
            assert.equal(code, 'HF_FORBIDDEN');
            assert.match(message, new RegExp(`scope ${needs}`));
          }
        }
      }
    });

    it('takes the cluster secret for admin', async () => {
      assert.equal((await call('/admin')).status, 200);
    });

    it('needs admin where a route forgot to say what it needs', async () => {
      assert.equal((await call('/forgotten', issueToken(secret, 'deploy', 0))).status, 403);
      assert.equal((await call('/forgotten')).status, 200);
    });

    it('asks everybody else who they are', async () => {
      const expired = issueToken(secret, 'admin', Math.floor(system.clock.wallMs() / 1000) - 1);
      const [prefix, , expiry, signature] = issueToken(secret, 'read', 0).split('.');
      const wrong = [
        null,
        'x',
        `${secret}x`,
        issueToken('another secret', 'admin', 0),
        expired,
        `${prefix}.admin.${expiry}.${signature}`,
        `${prefix}.read.99999999999.${signature}`,
        `hf2.read.0.${signature}`,
        'hf1.admin.0.',
        '...',
      ];
      for (const token of wrong) {
        for (const path of ['/read', '/metrics', '/openapi.json', '/nothing/here']) {
          const response = await call(path, token);
          assert.equal(response.status, 401, `${token} ${path}`);
          assert.equal(response.headers.get('www-authenticate'), 'Bearer');
          assert.equal((await errorOf(response)).code, 'HF_UNAUTHENTICATED');
        }
      }
      for (const authorization of ['', 'Bearer', 'Bearer ', `Basic ${secret}`, secret]) {
        assert.equal((await call('/read', null, { headers: { authorization } })).status, 401, authorization);
      }
    });

    it('lets a token end at its time', async () => {
      const token = issueToken(secret, 'read', Math.floor(system.clock.wallMs() / 1000) + 60);
      assert.equal((await call('/read', token)).status, 200);
      await system.advance(61_000);
      assert.equal((await call('/read', token)).status, 401);
    });

    it('asks before it reads the body', async () => {
      const response = await call('/echo', null, { method: 'POST', body: 'x'.repeat(5_000) });
      assert.equal(response.status, 401);
    });

    it('lets anybody see health, and what is public', async () => {
      for (const path of ['/health/live', '/health/ready', '/public']) {
        assert.equal((await call(path, null)).status, 200, path);
      }
    });
  });

  describe('errors', () => {
    it('404: nothing is there, also for a reader', async () => {
      const { code, message } = await errorOf(await call('/nothing?a=1', issueToken(secret, 'read', 0)));
      assert.equal(code, 'HF_NOT_FOUND');
      assert.equal(message, 'there is no GET /nothing');
      assert.equal((await call('/read', secret, { method: 'DELETE' })).status, 404);
    });

    it('413: the body is over the limit', async () => {
      const response = await call('/echo', secret, {
        method: 'POST',
        body: JSON.stringify('x'.repeat(2_000)),
        headers: { 'content-type': 'application/json' },
      });
      assert.equal((await errorOf(response)).code, 'HF_REQUEST_TOO_LARGE');
      assert.equal(response.status, 413);
    });

    it('415: the content type is not one that is understood', async () => {
      const response = await call('/echo', secret, {
        method: 'POST',
        body: '<x/>',
        headers: { 'content-type': 'application/xml' },
      });
      assert.equal(response.status, 415);
      assert.equal((await errorOf(response)).code, 'HF_MEDIA_TYPE');
    });

    it('400: the body is no JSON, or none at all where one is needed', async () => {
      for (const [path, body] of [
        ['/echo', '{'],
        ['/typed', '{'],
        ['/typed', ''],
      ] as const) {
        const response = await call(path, secret, {
          method: 'POST',
          body,
          headers: { 'content-type': 'application/json' },
        });
        assert.equal(response.status, 400);
        assert.equal((await errorOf(response)).code, 'HF_REQUEST_INVALID');
      }
    });

    it('takes a request that names the type of a body and sends none for one without', async () => {
      for (const type of ['application/json', 'application/x-www-form-urlencoded', 'application/xml']) {
        const response = await call('/bodiless', secret, {
          method: 'POST',
          body: '',
          headers: { 'content-type': type },
        });
        assert.equal(response.status, 200, type);
        assert.deepEqual(await response.json(), { had: 'undefined' });
      }
    });

    it('400: the body does not fit: every place, its value, what was expected, and no secrets', async () => {
      const response = await call('/typed', secret, {
        method: 'POST',
        body: JSON.stringify({ nme: 'a', list: [1, 'x'], password: 'hunter2' }),
        headers: { 'content-type': 'application/json' },
      });
      assert.equal(response.status, 400);
      const { code, message, details } = await errorOf(response);
      assert.equal(code, 'HF_REQUEST_INVALID');
      assert.deepEqual(details, {
        in: 'body',
        problems: [
          { path: '$.name', expected: 'a value (it is missing)' },
          { path: '$.nme', value: 'a', expected: 'no such key; known keys: name, list, password' },
          { path: '$.list[1]', value: 'x', expected: 'integer' },
          { path: '$.password', value: '[redacted]', expected: 'at least 50 characters' },
        ],
      });
      assert(!message.includes('hunter2'));
    });

    it('431: the headers are over the limit', async () => {
      const response = await call('/read', secret, { headers: { 'x-long': 'x'.repeat(20_000) } });
      assert.equal(response.status, 431);
    });

    it('409 and others: as thrown', async () => {
      const response = await call('/conflict');
      assert.deepEqual(await response.json(), {
        statusCode: 409,
        error: 'Conflict',
        code: 'HF_PACKAGE_CONFLICT',
        message: 'there already',
        details: { name: 'x' },
      });
    });

    it('503: with Retry-After', async () => {
      const response = await call('/busy');
      assert.equal(response.status, 503);
      assert.equal(response.headers.get('retry-after'), '1');
      assert.equal((await errorOf(response)).code, 'HF_UNAVAILABLE');
    });

    it('500: keeps the cause to the log, under the id of the request', async () => {
      const response = await call('/fails', secret, { headers: { 'x-request-id': 'my-id' } });
      assert.equal(response.status, 500);
      const text = await response.text();
      assert(!text.includes('private'));
      assert.equal(response.headers.get('x-request-id'), 'my-id');
      assert.match(logged, /a private detail/);
      assert.match(logged, /my-id/);
      assert(!logged.includes(secret));
    });

    it('400: bytes that are no HTTP', async () => {
      const socket = connect(Number(new URL(base).port), '127.0.0.1');
      let answer = '';
      socket.on('data', chunk => (answer += chunk.toString()));
      const closed = new Promise(resolve => socket.once('close', resolve));
      socket.write('nonsense\r\n\r\n');
      await closed;
      assert.match(answer, /^HTTP\/1\.1 400/);
      const body = JSON.parse(answer.split('\r\n\r\n')[1]!) as ErrorBody;
      assert.equal(body.code, 'HF_REQUEST_INVALID');
    });

    it('400: a URL that cannot be, which strangers do not even learn', async () => {
      for (const path of ['/%zz', `/parameter/${'x'.repeat(4_000)}`]) {
        const response = await call(path);
        assert.equal(response.status, 400);
        assert.ok(response.headers.get('x-request-id'));
        assert.equal((await errorOf(response)).code, 'HF_REQUEST_INVALID');
        const refused = await call(path, null);
        assert.equal(refused.status, 401);
        assert.equal((await errorOf(refused)).code, 'HF_UNAUTHENTICATED');
      }
    });
  });

  it('takes the longest key there may be as a part of the path, percent-encoded', async () => {
    const key = '+'.repeat(1_024);
    const response = await call(`/parameter/${encodeURIComponent(key)}`);
    assert.deepEqual(await response.json(), { name: key });
  });

  it('replaces a request id that no log should hold', async () => {
    for (const given of ['x'.repeat(200), '<script>', 'a b', 'two, ids']) {
      const response = await call('/public', null, { headers: { 'x-request-id': given } });
      assert.match(response.headers.get('x-request-id')!, /^\w{16}$/);
    }
  });

  it('gives each request an id', async () => {
    const ids = await Promise.all(
      [1, 2, 3].map(async () => (await call('/public', null)).headers.get('x-request-id')),
    );
    assert.equal(new Set(ids).size, 3);
  });

  it('shows metrics as Prometheus takes them', async () => {
    const response = await call('/metrics', issueToken(secret, 'read', 0));
    assert.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
    assert.equal(await response.text(), 'things_total 3\n');
  });

  it('is live while it is not ready', async () => {
    notReady = 'still waking up';
    assert.equal((await call('/health/live', null)).status, 200);
    const response = await call('/health/ready', null);
    assert.equal(response.status, 503);
    assert.deepEqual(await response.json(), { status: 'unavailable', reason: 'still waking up' });
  });

  it('describes itself, on demand and once', async () => {
    const before = registered;
    const read = async () =>
      (await (await call('/openapi.json', issueToken(secret, 'read', 0))).json()) as {
        openapi: string;
        info: { title: string };
        paths: Record<string, { post?: { requestBody?: object } }>;
      };
    const document = await read();
    await read();
    assert.equal(registered, before + 1);
    assert.equal(document.openapi, '3.1.0');
    assert.equal(document.info.title, 'Test API');
    assert(document.paths['/typed']!.post!.requestBody);
    assert(!('/metrics' in document.paths));
  });
});
