import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { errorTable, type ErrorBody } from '#core';
import { ask, createFixture, raw, secret, type Echo, type Fixture } from './support.ts';

describe('front door', () => {
  let fixture: Fixture;
  beforeEach(async () => {
    fixture = await createFixture();
  });
  afterEach(() => fixture.dispose());

  it('answers / with its health, for programs and for people', async () => {
    const host = await fixture.host();
    const router = await fixture.router();
    await ask(router, '/db/a');
    const answer = await ask(router, '/');
    assert.equal(answer.status, 200);
    assert.ok(answer.headers['x-request-id']);
    const page = answer.json<{
      cluster: string;
      routes: { pathPrefix: string; sessions: { processId: string }[] }[];
    }>();
    assert.equal(page.cluster, 'test');
    assert.equal(page.routes[0]!.pathPrefix, '/db');
    assert.equal(page.routes[0]!.sessions[0]!.processId, host.processId);
    const html = await ask(router, '/', { headers: { accept: 'text/html,*/*' } });
    assert.match(String(html.headers['content-type']), /^text\/html/);
    assert.match(html.text, new RegExp(host.processId));
    const head = await ask(router, '//', { method: 'HEAD' });
    assert.equal(head.status, 200);
    assert.equal(head.text, '');
    for (const text of [answer.text, html.text]) {
      assert.ok(!text.includes(secret) && !text.includes(host.sessionId) && !text.includes('http://127'));
    }
  });

  it('keeps its health page when a route covers /', async () => {
    await fixture.host();
    await fixture.routes([{ pathPrefix: '/', componentInstanceId: 'databases' }]);
    const router = await fixture.router();
    assert.equal((await ask(router, '/')).json<{ status: string }>().status, 'ok');
    assert.equal((await ask(router, '/', { method: 'POST' })).json<Echo>().key, '/');
  });

  it('answers errors in the shape of the contract, with the request’s id', async () => {
    const router = await fixture.router();
    const answer = await ask(router, '/none/<b>', { headers: { 'x-request-id': 'mine-1' } });
    assert.equal(answer.status, 404);
    assert.equal(answer.headers['x-request-id'], 'mine-1');
    assert.deepEqual(answer.json(), {
      statusCode: 404,
      error: 'Not Found',
      code: 'HF_NO_ROUTE',
      message: 'no route covers /none/%3Cb%3E',
    });
  });

  it('keeps a sane request id, replaces another, and shows it to owner and client', async () => {
    await fixture.host();
    const router = await fixture.router();
    for (const [given, kept] of [
      ['abc-1', true],
      ['a b', false],
      ['x'.repeat(200), false],
    ] as const) {
      const answer = await ask(router, '/db/a', { headers: { 'x-request-id': given } });
      const id = answer.headers['x-request-id'];
      assert.equal(id === given, kept, given);
      assert.equal(answer.json<Echo>().headers['x-request-id'], id);
    }
  });

  it('lets none of Holdfast’s headers through, in or out', async () => {
    await fixture.host({
      handler: (request, response) => {
        request.resume();
        response.writeHead(200, { 'x-holdfast-owner': 'me', 'X-Holdfast-Channel': 'leak', 'x-own': 'yes' });
        response.end(JSON.stringify(request.headers));
      },
    });
    const router = await fixture.router();
    const forged = {
      'X-Holdfast-Resource': '/db/other',
      'x-holdfast-fence': '999',
      'x-holdfast-owner': 'x',
      'x-holdfast-extra': '1',
    };
    const answer = await ask(router, '/db/a', { headers: forged });
    assert.equal(answer.status, 200);
    const seen = answer.json<Record<string, string>>();
    assert.equal(seen['x-holdfast-resource'], '/db/a');
    assert.equal(seen['x-holdfast-fence'], '1');
    assert.equal(seen['x-holdfast-owner'], undefined);
    assert.equal(seen['x-holdfast-extra'], undefined);
    assert.equal(answer.headers['x-own'], 'yes');
    assert.equal(answer.headers['x-holdfast-channel'], undefined);
    assert.notEqual(answer.headers['x-holdfast-owner'], 'me');
  });

  it('tells the owner who asked, and keeps the client’s Host', async () => {
    await fixture.host();
    const router = await fixture.router();
    const { headers } = (
      await ask(router, '/db/a', { headers: { host: 'data.example.org', 'x-forwarded-for': '6.6.6.6' } })
    ).json<Echo>();
    assert.equal(headers.host, 'data.example.org');
    assert.equal(headers['x-forwarded-for'], '127.0.0.1');
    assert.equal(headers['x-forwarded-host'], 'data.example.org');
    const trusting = await fixture.router({ trustForwardedHeaders: true });
    const trusted = (
      await ask(trusting, '/db/a', { headers: { 'x-forwarded-for': '6.6.6.6' } })
    ).json<Echo>();
    assert.equal(trusted.headers['x-forwarded-for'], '6.6.6.6, 127.0.0.1');
  });

  it('refuses keys that cannot be', async () => {
    await fixture.routes([
      { pathPrefix: '/db', componentInstanceId: 'databases', resourceKey: { from: 'path', segments: 2 } },
      { pathPrefix: '/api', componentInstanceId: 'databases', resourceKey: { from: 'header:x-tenant' } },
    ]);
    await fixture.host();
    const router = await fixture.router();
    for (const path of ['/db', '/db/%00', '/db/%', '/db/%ff', `/db/${'a'.repeat(2_000)}`, '/api/x']) {
      const answer = await ask(router, path);
      assert.equal(answer.status, 400, path);
      assert.equal(answer.json<ErrorBody>().code, 'HF_KEY_INVALID', path);
    }
    assert.equal(
      (await ask(router, '/api/x', { headers: { 'x-tenant': 'a b' } })).json<Echo>().key,
      '/api#x-tenant=a%20b',
    );
    assert.equal((await ask(router, '/db/a/b/c')).json<Echo>().key, '/db/a');
  });

  it('refuses what two readers could take differently', async () => {
    await fixture.host();
    const router = await fixture.router();
    const heads: [string, number][] = [
      [
        'POST /db/a HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
        400,
      ],
      ['POST /db/a HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc', 400],
      [
        'POST /db/a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip, chunked\r\nconnection: close\r\n\r\n0\r\n\r\n',
        501,
      ],
      ['GET /db/a HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n', 400],
      ['GET /db/a HTTP/1.1\r\nhost : a\r\n\r\n', 400],
      ...['evil/db/b?', 'a, b', 'a b', 'user@a', 'a:1:2', 'a\\b', 'a#b'].map(host => {
        return [`GET /db/a HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`, 400] as [string, number];
      }),
      ["GET http://a'b;/db/a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", 400],
      ['GET /db/a HTTP/1.1\r\nconnection: close\r\n\r\n', 400],
      ['OPTIONS * HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n', 400],
      ['nonsense\r\n\r\n', 400],
    ];
    for (const [head, status] of heads) {
      const seen = await raw(router, head);
      assert.match(seen, new RegExp(`^HTTP/1.1 ${status} `), head);
      assert.doesNotMatch(seen, /processId/);
    }
    assert.equal((await ask(router, '/db/a')).status, 200);
  });

  it('puts no error of its own into the middle of an owner’s answer', async () => {
    const go = Promise.withResolvers<void>();
    await fixture.host({
      handler: async (request, response) => {
        request.resume();
        response.writeHead(200, { 'content-length': '9' });
        response.write('begun');
        await go.promise;
        response.end('over');
      },
    });
    const router = await fixture.router();
    const chunked = 'POST /db/a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n';
    for (const head of [chunked, 'GET /db/a HTTP/1.1\r\nhost: h\r\n\r\n']) {
      const socket = connect(router.address().port, '127.0.0.1');
      socket.write(head);
      let seen = '';
      for await (const chunk of socket as AsyncIterable<Buffer>) {
        const begun = seen.includes('begun');
        seen += chunk.toString();
        // A plain request is answered to its end first; where Node reads, it breaks off as soon as it has seen this.
        if (!begun && seen.includes('begun'))
          socket.write('nonsense\r\n\r\n', () => head !== chunked && go.resolve());
      }
      assert.match(seen, head === chunked ? /begun$/ : /begunoverHTTP\/1\.1 400 /);
    }
  });

  it('closes connections that are kept alive after their last answer when it stops', async () => {
    const begun = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    await fixture.host({
      handler: async (request, response) => {
        request.resume();
        begun.resolve();
        await go.promise;
        response.end('ok');
      },
    });
    const router = await fixture.router();
    const socket = connect(router.address().port, '127.0.0.1');
    socket.write('GET /db/a HTTP/1.1\r\nhost: h\r\n\r\n');
    await begun.promise;
    const never = new AbortController();
    const stopped = router.stop(never.signal);
    go.resolve();
    const seen = await text(socket);
    assert.match(seen, /^HTTP\/1\.1 200 [^]*connection: close[^]*ok/i);
    await stopped;
  });

  it('takes a target in absolute form', async () => {
    await fixture.host();
    const router = await fixture.router();
    const seen = await raw(
      router,
      'GET http://data.example.org/db//a?b HTTP/1.1\r\nhost: other\r\nconnection: close\r\n\r\n',
    );
    assert.match(seen, /"url":"\/db\/a\?b"/);
    assert.match(seen, /"host":"data.example.org"/);
  });

  it('answers 431 to a header block over its limit', async () => {
    const router = await fixture.router();
    const seen = await raw(router, `GET /db/a HTTP/1.1\r\nhost: h\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`);
    assert.match(seen, /^HTTP\/1\.1 431 /);
    assert.match(seen, /HF_HEADERS_TOO_LARGE/);
  });

  it('answers 501 to CONNECT, and passes over upgrades that are no WebSocket', async () => {
    await fixture.host();
    const router = await fixture.router();
    assert.match(await raw(router, 'CONNECT h:1 HTTP/1.1\r\nhost: h:1\r\n\r\n'), /^HTTP\/1\.1 501 /);
    const other = await ask(router, '/db/a', {
      headers: { connection: 'upgrade, http2-settings', upgrade: 'h2c' },
    });
    assert.equal(other.status, 200);
    assert.equal(other.json<Echo>().headers.upgrade, undefined);
  });

  it('serves no more requests at once than it may', async () => {
    const go = Promise.withResolvers<void>();
    await fixture.host({
      handler: async (request, response) => {
        request.resume();
        await go.promise;
        response.end('ok');
      },
    });
    const router = await fixture.router({ maxRequests: 1 });
    const first = ask(router, '/db/a');
    while (router.counters.active === 0) await new Promise(resolve => setImmediate(resolve));
    const second = await ask(router, '/db/b');
    assert.equal(second.status, errorTable.HF_UNAVAILABLE.statusCode);
    assert.equal(second.headers['retry-after'], '1');
    go.resolve();
    assert.equal((await first).status, 200);
  });
});
