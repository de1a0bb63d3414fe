import assert from 'node:assert/strict';
import fc from 'fast-check';
import { databaseFileName, databaseName } from '../../../components/sqlite-service/file-name.ts';

describe('sqlite-service: file names', () => {
  it('reads well for ordinary keys', () => {
    assert.equal(databaseFileName('/db/customers'), 'db%2Fcustomers.sqlite');
    assert.equal(databaseFileName('/db/caf%C3%A9'), 'db%2Fcaf%25%433%25%419.sqlite');
  });

  it('never gives one file to two keys, also where file systems ignore case', () => {
    const segment = fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 12 }),
      fc.string({ unit: fc.constantFrom('a', 'A', '%', '2', 'F', 'f', '~', '.', '/'), maxLength: 300 }),
    );
    const key = segment.filter(text => text !== '').map(text => `/${text}`);
    fc.assert(
      fc.property(key, key, (left, right) => {
        const same = databaseFileName(left).toLowerCase() === databaseFileName(right).toLowerCase();
        assert.equal(same, left === right);
      }),
      { numRuns: 2_000 },
    );
  });

  it('stays inside the folder and within the length of names, whatever the key', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1_024 }), text => {
        const name = databaseFileName(`/${text}`);
        assert.match(name, /^[a-z0-9_.%A-F~-]+\.sqlite$/);
        assert(`${name}-journal`.length <= 255);
      }),
    );
    assert.equal(databaseFileName('/..'), '...sqlite');
  });

  it('keeps apart long keys that begin alike', () => {
    const long = `/db/${'x'.repeat(900)}`;
    assert.notEqual(databaseFileName(`${long}1`), databaseFileName(`${long}2`));
  });

  it('refuses a key that names nothing', () => {
    for (const key of ['', '/', '/\ud800']) {
      assert.throws(() => databaseFileName(key), { code: 'HF_KEY_INVALID' });
    }
  });

  it('names a database by the last part of its key, decoded', () => {
    assert.equal(databaseName('/db/caf%C3%A9'), 'café');
    assert.equal(databaseName('/db/a%ZZ'), 'a%ZZ');
    assert.equal(databaseName('plain'), 'plain');
  });
});
