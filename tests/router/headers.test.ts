import assert from 'node:assert/strict';
import fc from 'fast-check';
import { requestHeaders, responseHeaders } from '../../router/headers.ts';

const client = { requestId: 'id-1', authority: null, remoteAddress: '10.0.0.9', trust: false };

function grouped(flat: readonly string[]): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  for (let index = 0; index < flat.length; index += 2) (found[flat[index]!] ??= []).push(flat[index + 1]!);
  return found;
}

describe('requestHeaders', () => {
  it('passes what a component may see and adds what the router knows', () => {
    const raw = ['Host', 'example.org', 'Accept', '*/*', 'Cookie', 'a=1', 'cookie', 'b=2'];
    assert.deepEqual(grouped(requestHeaders(raw, client)), {
      accept: ['*/*'],
      cookie: ['a=1', 'b=2'],
      host: ['example.org'],
      'x-request-id': ['id-1'],
      'x-forwarded-for': ['10.0.0.9'],
      'x-forwarded-proto': ['http'],
      'x-forwarded-host': ['example.org'],
    });
  });

  it('drops hop-by-hop headers, those that Connection names, and Holdfast’s own', () => {
    const raw = [
      'Connection', 'keep-alive, X-Mine, host, content-length', 'X-Mine', '1', 'Host', 'h', 'Content-Length', '5', 'TE', 'trailers',
      'Transfer-Encoding', 'chunked', 'Upgrade', 'h2c', 'HTTP2-Settings', 'x', 'Keep-Alive', '1', 'Proxy-Authorization', 'x',
      'Proxy-Connection', 'x', 'Trailer', 'x', 'Expect', '100-continue', 'X-Holdfast-Channel', 'forged', 'x-holdfast-fence', '9',
      'X-HOLDFAST-anything', 'x',
    ]; // prettier-ignore
    const passed = grouped(requestHeaders(raw, client));
    assert.deepEqual(Object.keys(passed).sort(), [
      'content-length',
      'host',
      'x-forwarded-for',
      'x-forwarded-host',
      'x-forwarded-proto',
      'x-request-id',
    ]);
  });

  it('believes nothing that a client says of itself', () => {
    const raw = [
      'X-Forwarded-For',
      '1.1.1.1',
      'X-Forwarded-Proto',
      'https',
      'X-Forwarded-Host',
      'evil',
      'Forwarded',
      'for=1',
      'X-Real-IP',
      '1.1.1.1',
      'X-Forwarded-Prefix',
      '/x',
      'Host',
      'h',
    ];
    assert.deepEqual(grouped(requestHeaders(raw, client)), {
      host: ['h'],
      'x-request-id': ['id-1'],
      'x-forwarded-for': ['10.0.0.9'],
      'x-forwarded-proto': ['http'],
      'x-forwarded-host': ['h'],
    });
  });

  it('adds to what a trusted proxy says', () => {
    const raw = [
      'X-Forwarded-For',
      '1.1.1.1',
      'x-forwarded-for',
      '2.2.2.2',
      'X-Forwarded-Proto',
      'https',
      'X-Forwarded-Host',
      'front',
      'Host',
      'h',
    ];
    const passed = grouped(requestHeaders(raw, { ...client, trust: true }));
    assert.deepEqual(passed['x-forwarded-for'], ['1.1.1.1, 2.2.2.2, 10.0.0.9']);
    assert.deepEqual(passed['x-forwarded-proto'], ['https']);
    assert.deepEqual(passed['x-forwarded-host'], ['front']);
  });

  it('takes the host of an absolute target, and refuses a second Host', () => {
    const passed = grouped(requestHeaders(['Host', 'h'], { ...client, authority: 'absolute' }));
    assert.deepEqual(passed.host, ['absolute']);
    assert.deepEqual(passed['x-forwarded-host'], ['absolute']);
    assert.throws(() => requestHeaders(['Host', 'a', 'host', 'b'], client), { code: 'HF_REQUEST_INVALID' });
  });

  it('never lets one of Holdfast’s headers in, however it is spelt', () => {
    const spelling = fc
      .tuple(
        fc.constantFrom('channel', 'resource', 'session', 'fence', 'owner', 'other'),
        fc.array(fc.boolean(), { maxLength: 20 }),
      )
      .map(([end, capitals]) =>
        `x-holdfast-${end}`
          .split('')
          .map((letter, index) => (capitals[index] ? letter.toUpperCase() : letter))
          .join(''),
      );
    fc.assert(
      fc.property(fc.array(spelling, { maxLength: 5 }), names => {
        const raw = names.flatMap(name => [name, 'forged']);
        assert.ok(!requestHeaders(raw, client).includes('forged'));
      }),
    );
  });
});

function block(...lines: string[]): Buffer {
  return Buffer.from(lines.map(line => `${line}\r\n`).join(''));
}

describe('responseHeaders', () => {
  const facts = { owner: 'node-1-h1', requestId: 'id-1' };

  it('passes the owner’s headers and says who answered', () => {
    const passed = grouped(
      responseHeaders(
        200,
        block('content-type: text/plain', 'set-cookie: a=1', 'set-cookie: b=2', 'x-request-id: other'),
        facts,
      ),
    );
    assert.deepEqual(passed, {
      'content-type': ['text/plain'],
      'set-cookie': ['a=1', 'b=2'],
      'x-holdfast-owner': ['node-1-h1'],
      'x-request-id': ['id-1'],
    });
  });

  it('gives no length to an answer that has no content', () => {
    assert.equal(
      grouped(responseHeaders(204, block('content-length: 0'), facts))['content-length'],
      undefined,
    );
    assert.deepEqual(grouped(responseHeaders(304, block('content-length: 9'), facts))['content-length'], [
      '9',
    ]);
  });
});
