import assert from 'node:assert/strict';
import { isSecretName, redact, REDACTED, redactSettings } from '#core';
import fc from 'fast-check';

describe('redaction', () => {
  it('knows secrets by their names', () => {
    for (const name of [
      'password',
      'dbPassword',
      'PASSWD',
      'secret',
      'clientSecret',
      'api_key',
      'apikey',
      'accessToken',
      'credentials',
      'authorization',
      'signingKey',
      'signing_key',
      'connectionString',
    ]) {
      assert.ok(isSecretName(name), name);
    }
    for (const name of [
      'name',
      'key',
      'keys',
      'ownedKeys',
      'monkey',
      'resourceKey',
      'primary_key',
      'keyword',
    ]) {
      assert.ok(!isSecretName(name), name);
    }
  });

  it('hides values at any depth, and passwords in URLs', () => {
    const given = {
      url: 'redis://user:hunter2@host:6379/0',
      list: [{ token: 'abc', name: 'x' }],
      secret: { nested: true },
      passwordRequired: true,
      token: null,
    };
    assert.deepEqual(redact(given), {
      url: `redis://user:${REDACTED}@host:6379/0`,
      list: [{ token: REDACTED, name: 'x' }],
      secret: REDACTED,
      passwordRequired: true,
      token: null,
    });
    assert.equal(given.list[0]!.token, 'abc');
  });

  it('leaves values as they are otherwise, errors too, and ends with what refers to itself', () => {
    const error = new Error('x');
    const given = { error, count: 1, list: ['a', null], nothing: undefined };
    assert.deepEqual(redact(given), given);
    assert.equal((redact(given) as typeof given).error, error);
    assert.equal(redact(undefined), undefined);
    const itself: Record<string, unknown> = { name: 'x' };
    itself['itself'] = itself;
    assert.ok(JSON.stringify(redact(itself)).includes(REDACTED));
  });

  it('takes time in proportion to a text, however it looks', () => {
    const beganMs = performance.now();
    redact([
      `${'a'.repeat(500_000)} ://`,
      '://'.repeat(200_000),
      '://a:'.repeat(100_000),
      `://${':'.repeat(500_000)}`,
    ]);
    assert.ok(performance.now() - beganMs < 2_000);
  });

  it('hides a bare key in settings, where it is no resource', () => {
    assert.deepEqual(redactSettings({ key: 'k', port: 1 }), { key: REDACTED, port: 1 });
  });

  it('never lets a secret through, wherever it stands', () => {
    const name = fc.constantFrom('password', 'apiKey', 'authToken', 'clientSecret');
    const around = fc.array(fc.oneof(fc.constantFrom('a', 'b'), fc.constantFrom(0, 1)), { maxLength: 40 });
    fc.assert(
      fc.property(name, around, (secretName, path) => {
        const leaf: unknown = { [secretName]: 'hunter2' };
        const value = path.reduce<unknown>(
          (inner, segment) => (typeof segment === 'number' ? [inner] : { [segment]: inner }),
          leaf,
        );
        assert.ok(!JSON.stringify(redact(value)).includes('hunter2'));
      }),
    );
  });
});
