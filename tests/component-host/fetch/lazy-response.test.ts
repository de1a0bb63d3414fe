import assert from 'node:assert/strict';
import fc from 'fast-check';

const Native = globalThis.Response;
const { LazyResponse } = await import('../../../component-host/fetch/lazy-response.ts');
const Light = LazyResponse as unknown as typeof Response;

/** What a component can see of a Response, or how making it fails. */
async function seen(make: () => Response) {
  let response: Response;
  try {
    response = make();
  } catch (error) {
    return (error as Error).name;
  }
  const { status, ok, statusText, type, url, redirected, bodyUsed } = response;
  const headers = [...response.headers];
  const copy = response.clone();
  const text = await response.text();
  const again = await response.text().catch((error: Error) => error.name);
  return {
    status,
    ok,
    statusText,
    type,
    url,
    redirected,
    bodyUsed,
    headers,
    text,
    again,
    used: response.bodyUsed,
    copy: await copy.text(),
  };
}

describe('the light Response', () => {
  it('is in all that can be seen what the platform’s is, for whatever it is made of', async () => {
    const body = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 20 }),
      fc.uint8Array({ maxLength: 20 }) as fc.Arbitrary<Uint8Array<ArrayBuffer>>,
      fc.constantFrom(null, undefined),
    );
    const name = fc.constantFrom(
      'content-type',
      'Content-Type',
      'x-a',
      'X-A',
      'set-cookie',
      'bad name',
      '',
      'connection',
    );
    const value = fc.constantFrom(
      'a',
      'text/html',
      ' padded ',
      '',
      'ü',
      '\u0001',
      'x'.repeat(50),
      'a\tb',
      '☃',
    );
    const headers = fc.oneof(
      fc.constant(undefined),
      fc.dictionary(name, value, { maxKeys: 3 }),
      fc.array(fc.tuple(name, value), { maxLength: 3 }),
    );
    const init = fc.record(
      {
        status: fc.constantFrom(200, 201, 204, 304, 404, 599, 600, 199, 0),
        statusText: fc.constantFrom('', 'OK', 'a\nb'),
        headers,
      },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(body, fc.option(init, { nil: undefined }), async (content, options) => {
        const given = options as ResponseInit | undefined;
        assert.deepEqual(
          await seen(() => new Light(content, given)),
          await seen(() => new Native(content, given)),
        );
        assert.deepEqual(
          await seen(() => Light.json({ content: String(content) }, given)),
          await seen(() => Native.json({ content: String(content) }, given)),
        );
      }),
      { numRuns: 300 },
    );
  });

  it('passes for the platform’s, and the platform’s for it', async () => {
    const light = new Light('a');
    assert.ok(light instanceof Native && light instanceof Light && new Native('') instanceof Light);
    class Own extends Light {}
    assert.ok(new Own('') instanceof Own && new Own('') instanceof Native && !(light instanceof Own));
    assert.equal(Object.prototype.toString.call(light), '[object Response]');
    light.headers.set('x-a', 'b');
    assert.equal(light.headers.get('x-a'), 'b');
    assert.equal(await new Response(light.body).text(), 'a');
    assert.ok(light.bodyUsed);
    assert.throws(() => Light.json(undefined), TypeError);
    assert.equal(Light.redirect('http://a/').status, 302);
    assert.equal(Light.error().type, 'error');
  });

  it('keeps what it was made of, whatever becomes of that', async () => {
    const bytes = new Uint8Array([65]);
    const headers = { 'x-a': 'b' };
    const light = new Light(bytes, { headers });
    bytes[0] = 66;
    headers['x-a'] = 'c';
    assert.equal(light.headers.get('x-a'), 'b');
    assert.equal(await light.text(), 'A');
  });
});
