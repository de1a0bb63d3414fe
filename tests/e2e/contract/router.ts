/** The router as a client sees it. Its limits are small here, so that they can be reached. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { until, type Cluster } from '../../support/cluster.ts';
import { assertErrorShape, assertRefused, send, type Answer } from './support.ts';

export const routerLimits = { maxBodyBytes: 65_536, ownerTimeoutMs: 1_500 };

interface Echo {
  owner: string;
  key: string;
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string;
}

export function routerContract(clusterOf: () => Cluster): void {
  let uri: string;
  before(async () => {
    [uri] = clusterOf().routerUris as [string];
    await until('the echo answers', async () => (await send(uri, 'GET', '/echo/ready')).status === 200);
  });

  const ask = async (path: string, options = {}, method = 'GET') => {
    const answer = await send(uri, method, path, options);
    assert.equal(answer.status, 200, answer.text);
    return { ...answer, echo: answer.json as Echo };
  };
  const refuse = (answer: Answer, status: number, code: string) => {
    assertRefused(answer, status, code);
    assert(answer.headers['x-request-id']);
  };

  it('shows its health at / to everybody', async () => {
    const page = await send(uri, 'GET', '/');
    assert.equal(page.status, 200);
    assert.equal((page.json as { status: string }).status, 'ok');
    const head = await send(uri, 'HEAD', '/');
    assert.deepEqual([head.status, head.text], [200, '']);
    const html = await send(uri, 'GET', '/', { headers: { accept: 'text/html' } });
    assert.match(String(html.headers['content-type']), /^text\/html/);
  });

  it('passes any method, body and query on, without a token', async () => {
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND']) {
      const body = method === 'GET' ? undefined : `by ${method}`;
      const { echo } = await ask('/echo/methods?a=1&b=%20', { body }, method);
      assert.deepEqual([echo.method, echo.body], [method, body ?? '']);
      assert(echo.url.endsWith('/echo/methods?a=1&b=%20'), echo.url);
    }
    assert.equal((await send(uri, 'HEAD', '/echo/methods')).status, 200);
    const mine = { headers: { authorization: 'Bearer the-components-own' } };
    assert.equal((await ask('/echo/methods', mine)).echo.headers.authorization, 'Bearer the-components-own');
  });

  it('says who answered, and keeps the request’s id or makes one', async () => {
    const kept = await ask('/echo/ids', { headers: { 'x-request-id': 'mine-1' } });
    assert.equal(kept.headers['x-request-id'], 'mine-1');
    assert.equal(kept.echo.headers['x-request-id'], 'mine-1');
    const made = await ask('/echo/ids');
    assert(made.headers['x-request-id']);
    assert.equal(made.echo.headers['x-request-id'], made.headers['x-request-id']);
    assert.equal(made.headers['x-holdfast-owner'], made.echo.owner);
    const processes = await clusterOf().processes();
    assert(processes.some(item => item.processId === made.echo.owner));
  });

  it('believes nothing that a client says of itself or of Holdfast', async () => {
    const { echo } = await ask('/echo/headers', {
      headers: {
        'x-forwarded-for': '1.2.3.4',
        'x-forwarded-proto': 'https',
        'x-forwarded-host': 'elsewhere',
        'x-holdfast-resource': '/echo/other',
        'x-holdfast-session': 'forged',
        'x-holdfast-fence': '999999',
      },
    });
    assert.equal(echo.key, '/echo/headers');
    assert.match(echo.headers['x-forwarded-for']!, /^(?:127\.0\.0\.1|::1)$/);
    assert.equal(echo.headers['x-forwarded-proto'], 'http');
    assert.equal(echo.headers['x-forwarded-host'], new URL(uri).host);
    assert.equal(Object.keys(echo.headers).filter(name => name.startsWith('x-holdfast-')).length, 0);
  });

  it('has one key and owner for every spelling of a path', async () => {
    const spellings = [
      '/echo/a/b',
      '/echo//a/b',
      '/echo/./a/b',
      '/echo/x/../a/b',
      '/echo/%61/b',
      '/echo/a/b/',
      '/echo/a%2f..%2Fb/../a/b',
    ];
    const answers = await Promise.all(spellings.map(path => ask(path)));
    assert.deepEqual(new Set(answers.map(({ echo }) => echo.key)), new Set(['/echo/a/b']));
    assert.equal(new Set(answers.map(({ echo }) => echo.owner)).size, 1);
    for (const { echo } of answers) assert(new URL(echo.url).pathname === '/echo/a/b', echo.url);
    assert.equal((await ask('/echo/a%2fb')).echo.key, '/echo/a%2Fb');
  });

  it('takes the longest prefix on segment boundaries', async () => {
    const cluster = clusterOf();
    const instanceOf = async (path: string) => {
      const { echo } = await ask(path);
      const owner = (await cluster.processes()).find(item => item.processId === echo.owner);
      return owner?.component?.instanceId;
    };
    assert.equal(await instanceOf('/echo/deep'), 'others');
    assert.equal(await instanceOf('/echo/deep/er'), 'others');
    assert.equal(await instanceOf('/echo/deeper'), 'echoes');
    refuse(await send(uri, 'GET', '/echoes'), 404, 'HF_NO_ROUTE');
    refuse(await send(uri, 'GET', '/nowhere'), 404, 'HF_NO_ROUTE');
    refuse(await send(uri, 'POST', '/', { body: 'x' }), 404, 'HF_NO_ROUTE');
  });

  it('refuses what gives no key', async () => {
    refuse(await send(uri, 'GET', '/echo/%zz'), 400, 'HF_KEY_INVALID');
    refuse(await send(uri, 'GET', '/echo/%00'), 400, 'HF_KEY_INVALID');
    refuse(await send(uri, 'GET', '/tenant'), 400, 'HF_KEY_INVALID');
    const tenant = await ask('/tenant/any/path', { headers: { 'x-tenant': 'acme' } });
    assert.match(tenant.echo.key, /acme/);
  });

  it('has limits on bodies and headers', async () => {
    const tooLarge = { body: Buffer.alloc(routerLimits.maxBodyBytes + 1) };
    refuse(await send(uri, 'POST', '/echo/large', tooLarge), 413, 'HF_REQUEST_TOO_LARGE');
    const socket = connect(Number(new URL(uri).port), '127.0.0.1');
    socket.write(`GET /echo/x HTTP/1.1\r\nhost: x\r\nx-filler: ${'x'.repeat(20_000)}\r\n\r\n`);
    const answer = await text(socket);
    assert.match(answer, /^HTTP\/1\.1 431 /);
    const body = answer.slice(answer.indexOf('{'));
    const shape = { status: 431, headers: { 'content-type': 'application/json' }, text: body };
    assertErrorShape({ ...shape, json: JSON.parse(body) as unknown }, body);
    assert.match(body, /HF_HEADERS_TOO_LARGE/);
  });

  it('says 503 with Retry-After when nobody could take the key in time', async () => {
    const refused = await send(uri, 'GET', '/none/x');
    refuse(refused, 503, 'HF_NO_OWNER');
    assert.match(String(refused.headers['retry-after']), /^\d+$/);
  });

  it('says that the outcome is unknown when the owner broke off or took too long', async () => {
    refuse(await send(uri, 'POST', '/echo/slow?delayMs=4000', { body: 'x' }), 504, 'HF_OUTCOME_UNKNOWN');
    refuse(await send(uri, 'POST', '/echo/dies?die=1', { body: 'x' }), 502, 'HF_OUTCOME_UNKNOWN');
    assert.equal((await ask('/echo/dies')).status, 200, 'another owner takes over');
  });
}
