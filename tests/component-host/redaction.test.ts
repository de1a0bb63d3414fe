import assert from 'node:assert/strict';
import { isHiddenName, redact, REDACTED, redactSettings } from '#component-host';
import fc from 'fast-check';

describe('component-host redaction', () => {
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
      assert.ok(isHiddenName(name), name);
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
      assert.ok(!isHiddenName(name), name);
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

  it('hides a bare key in settings, where it is no resource', () => {
    assert.deepEqual(redactSettings({ key: 'k', port: 1 }), { key: REDACTED, port: 1 });
  });

  it('never lets a secret through, wherever it stands', () => {
    const name = fc.constantFrom('password', 'apiKey', 'authToken', 'clientSecret');
    const around = fc.array(fc.oneof(fc.constantFrom('a', 'b'), fc.constantFrom(0, 1)), { maxLength: 5 });
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
