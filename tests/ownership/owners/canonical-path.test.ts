import assert from 'node:assert/strict';
import fc from 'fast-check';
import { HoldfastError } from '#core';
import { canonicalPath, canonicalPathOfText, canonicalTarget } from '#ownership';

const refused = (target: string) =>
  assert.throws(
    () => canonicalTarget(target),
    (error: unknown) => error instanceof HoldfastError && error.code === 'HF_KEY_INVALID',
    JSON.stringify(target),
  );

/** A path as clients write them: any segments, encoded or not, with dots and empty ones among them. */
const segmentCharacters = fc.oneof(
  fc.constantFrom('a', 'Z', '0', '.', '..', '~', '!', '@', ':', ';', '+', '"', '<', '|', '\\', '^'),
  fc.constantFrom('%2e', '%2E', '%61', '%2f', '%2F', '%25', '%40', '%5c', '%20', '%C3%A9', 'e%CC%81', '%00'),
  fc.constantFrom('\u00c3\u00a9', '%', '%zz'),
);
const paths = fc
  .array(fc.array(segmentCharacters, { maxLength: 4 }), { maxLength: 6 })
  .map(segments => `/${segments.map(parts => parts.join('')).join('/')}`);

function tryCanonical(path: string): string | null {
  try {
    return canonicalPath(path);
  } catch {
    return null; // refused: nothing to hold for it
  }
}

describe('canonicalTarget', () => {
  it('gives every spelling of a path one form', () => {
    for (const spelling of [
      '/db/a',
      '/db//a',
      '/db/%61',
      '/db/./a',
      '/db/a/',
      '//db/a',
      '/x/../db/a',
      '/db/b/%2E%2e/a',
      '/db/%2e/a//',
    ]) {
      assert.equal(canonicalTarget(spelling).path, '/db/a', spelling);
    }
  });

  it('makes no second owner by encoding a character that may stand for itself', () => {
    assert.equal(canonicalPath('/db/a%40b%3a%2B%21'), '/db/a@b:+!');
    assert.equal(canonicalPath('/db/a@b:+!'), '/db/a@b:+!');
  });

  it('writes what stays encoded in upper case, and encodes what may not stand for itself', () => {
    assert.equal(canonicalPath('/a%5c%3f%25'), '/a%5C%3F%25');
    assert.equal(canonicalPath('/a\\b"<>^`{|}[]'), '/a%5Cb%22%3C%3E%5E%60%7B%7C%7D%5B%5D');
  });

  it('keeps an encoded slash inside its segment', () => {
    assert.equal(canonicalPath('/db/a%2fb'), '/db/a%2Fb');
    assert.notEqual(canonicalPath('/db/a%2fb'), canonicalPath('/db/a/b'));
    assert.equal(canonicalPath('/db/..%2f..%2fetc'), '/db/..%2F..%2Fetc');
  });

  it('writes other alphabets as percent-encoded UTF-8 in composed form', () => {
    const composed = '/db/%C3%A9';
    assert.equal(canonicalPath('/db/%c3%a9'), composed);
    assert.equal(canonicalPath('/db/e%CC%81'), composed);
    assert.equal(canonicalPath(Buffer.from('/db/é').toString('latin1')), composed);
    assert.equal(canonicalPathOfText('/db/e\u0301'), composed);
  });

  it('keeps the query as it came, out of the path', () => {
    assert.deepEqual(canonicalTarget('/db/a/?q=%2e%2E/../&x'), {
      path: '/db/a',
      query: '?q=%2e%2E/../&x',
      authority: null,
    });
    assert.deepEqual(canonicalTarget('/?'), { path: '/', query: '?', authority: null });
  });

  it('takes a target in absolute form, with its authority', () => {
    assert.deepEqual(canonicalTarget('http://example.org:8000/db//a?b'), {
      path: '/db/a',
      query: '?b',
      authority: 'example.org:8000',
    });
    assert.deepEqual(canonicalTarget('HTTP://example.org'), {
      path: '/',
      query: '',
      authority: 'example.org',
    });
    assert.deepEqual(canonicalTarget('http://example.org?b'), {
      path: '/',
      query: '?b',
      authority: 'example.org',
    });
  });

  it('refuses other forms, broken encodings, control characters, fragments and what is not UTF-8', () => {
    for (const target of [
      '*',
      'example.org:443',
      '',
      'ftp://x/',
      'http://',
      'http://u:p@x/',
      '/%',
      '/%4',
      '/%zz',
      '/a%00',
      '/a%0a',
      '/a%7F',
      '/a\u0001',
      '/a#b',
      '/a?b#c',
      '/%ff',
      '/%C3',
      '/\u0100',
    ]) {
      refused(target);
    }
    refused(`/${'a'.repeat(9_000)}`);
  });

  it('is idempotent, and its form never leaves the root', () => {
    fc.assert(
      fc.property(paths, path => {
        const canonical = tryCanonical(path);
        if (canonical === null) return;
        assert.equal(canonicalPath(canonical), canonical);
        assert.match(canonical, /^\/(?:[^/]+(?:\/[^/]+)*)?$/);
        for (const segment of canonical.split('/')) assert.ok(segment !== '.' && segment !== '..');
        assert.match(canonical, /^[\x21-\x7e]+$/);
      }),
    );
  });

  it('tells two paths apart exactly when their decoded segments differ', () => {
    const decoded = (path: string) =>
      path
        .split('/')
        .map(segment => decodeURIComponent(segment).normalize('NFC'))
        .join('\0');
    fc.assert(
      fc.property(paths, paths, (left, right) => {
        const [one, other] = [tryCanonical(left), tryCanonical(right)];
        if (one === null || other === null) return;
        assert.equal(one === other, decoded(one) === decoded(other));
      }),
    );
  });

  it('is what the URL parser of a component leaves alone', () => {
    fc.assert(
      fc.property(paths, path => {
        const canonical = tryCanonical(path);
        if (canonical === null) return;
        assert.equal(new URL(`http://host${canonical}`).pathname, canonical);
      }),
    );
  });
});
