import assert from 'node:assert/strict';
import fc from 'fast-check';
import { allows, issueToken, SCOPES, scopeOf } from '#http-api';

const nowMs = 1_700_000_000_000;
const scope = fc.constantFrom(...SCOPES);

describe('tokens', () => {
  it('give exactly their scope, until they end', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), scope, fc.nat(), (secret, granted, seconds) => {
        const expiresAt = nowMs / 1000 + seconds;
        const token = issueToken(secret, granted, expiresAt);
        assert.equal(scopeOf(token, secret, nowMs), seconds > 0 ? granted : null);
        assert.equal(scopeOf(token, secret, expiresAt * 1000), null);
        assert.equal(scopeOf(issueToken(secret, granted, 0), secret, Number.MAX_SAFE_INTEGER), granted);
      }),
    );
  });

  it('are worth nothing under another secret, or changed in any character', () => {
    const token = issueToken('secret', 'read', 0);
    assert.equal(scopeOf(token, 'other', nowMs), null);
    fc.assert(
      fc.property(fc.nat(token.length - 1), fc.constantFrom('A', '0', '.', 'z'), (index, character) => {
        fc.pre(token[index] !== character);
        const changed = token.slice(0, index) + character + token.slice(index + 1);
        assert.equal(scopeOf(changed, 'secret', nowMs), null, changed);
      }),
      { numRuns: 300 },
    );
  });

  it('are worth nothing with more or less than they need', () => {
    const token = issueToken('secret', 'admin', 0);
    const [prefix, name, expiry, signature] = token.split('.');
    for (const changed of [
      '',
      token.slice(0, -1),
      `${token}A`,
      `${token}.`,
      `${token}.x`,
      ` ${token}`,
      `${prefix}.${name}.${expiry}`,
      `${prefix}.${name}.00.${signature}`,
      `${prefix}.${name}..${signature}`,
    ]) {
      assert.equal(scopeOf(changed, 'secret', nowMs), null, changed);
    }
  });

  it('end, if their end is no time', () => {
    for (const never of [NaN, -1])
      assert.equal(scopeOf(issueToken('secret', 'read', never), 'secret', nowMs), null);
  });

  it('include lower scopes', () => {
    assert(allows('admin', 'read') && allows('deploy', 'read') && allows('deploy', 'deploy'));
    assert(!allows('read', 'deploy') && !allows('deploy', 'admin'));
  });
});
