import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  apply,
  beginChanges,
  nextRipeMs,
  ripen,
  see,
  type Facts,
} from '../../../components/file-watcher/changes.ts';

const paths = ['a', 'b', 'c', 'd/a', 'd/b', 'e'];
const facts = fc
  .tuple(fc.constantFrom('1', '2', '3', '4'), fc.constantFrom(0, 1, 2), fc.constantFrom('100', '200'))
  .map(([inode, size, modified]): Facts => ({ inode, size, modified }));
const folder = fc.dictionary(fc.constantFrom(...paths), facts).map(found => new Map(Object.entries(found)));

/** A whole look: also what is not there was seen. */
function whole(found: Map<string, Facts>) {
  return paths.map(path => ({ path, facts: found.get(path) ?? null }));
}

describe('changes of a folder', () => {
  it('told in order make of what was told what was seen, and nothing is told twice', () => {
    fc.assert(
      fc.property(folder, fc.array(folder, { minLength: 1, maxLength: 6 }), (before, looks) => {
        const changes = beginChanges(before);
        const told = new Map(before);
        looks.forEach((look, index) => see(changes, whole(look), index));
        const end = looks.length - 1 + 10;
        const events = ripen(changes, end, 10);
        for (const event of events) apply(told, event);
        assert.deepEqual(told, looks.at(-1));
        assert.deepEqual(changes.told, looks.at(-1));
        assert.deepEqual(ripen(changes, end + 100, 10), []);
        see(changes, whole(looks.at(-1)!), end + 100);
        assert.deepEqual(ripen(changes, end + 200, 10), []);
        assert.equal(nextRipeMs(changes, 10), null);
        const subjects = events.flatMap(event =>
          event.type === 'renamed' ? [event.path, event.from] : [event.path],
        );
        assert.equal(new Set(subjects).size, subjects.length);
      }),
    );
  });

  it('are told at whatever moments one looks: the end is the same', () => {
    fc.assert(
      fc.property(folder, fc.array(fc.tuple(folder, fc.integer({ min: 1, max: 30 }))), (before, looks) => {
        const changes = beginChanges(before);
        const told = new Map(before);
        let now = 0;
        for (const [look, passedMs] of looks) {
          see(changes, whole(look), (now += passedMs));
          for (const event of ripen(changes, now, 10)) apply(told, event);
          assert.deepEqual(told, changes.told);
        }
        for (const event of ripen(changes, now + 10, 10)) apply(told, event);
        assert.deepEqual(told, looks.at(-1)?.[0] ?? before);
      }),
    );
  });

  const one: Facts = { inode: '1', size: 5, modified: '100' };

  it('wait until a file has been quiet', () => {
    const changes = beginChanges();
    see(changes, [{ path: 'a', facts: one }], 0);
    assert.deepEqual(ripen(changes, 999, 1000), []);
    see(changes, [{ path: 'a', facts: { ...one, size: 6 } }], 999);
    assert.equal(nextRipeMs(changes, 1000), 1999);
    assert.deepEqual(ripen(changes, 1998, 1000), []);
    assert.deepEqual(ripen(changes, 1999, 1000), [
      { type: 'created', path: 'a', facts: { ...one, size: 6 } },
    ]);
  });

  it('a file that came and went in between is not told', () => {
    const changes = beginChanges();
    see(changes, [{ path: 'a', facts: one }], 0);
    see(changes, [{ path: 'a', facts: null }], 5);
    assert.deepEqual(ripen(changes, 100, 10), []);
  });

  it('a moved file is a rename, an inode that was used again is not', () => {
    const moved = beginChanges([['a', one]]);
    see(moved, [{ path: 'a', facts: null }], 0);
    see(moved, [{ path: 'd/a', facts: one }], 5);
    assert.deepEqual(ripen(moved, 10, 10), []); // its other half is not quiet yet
    assert.deepEqual(ripen(moved, 15, 10), [{ type: 'renamed', path: 'd/a', from: 'a', facts: one }]);

    const reused = beginChanges([['a', one]]);
    const other = { ...one, modified: '300' };
    see(
      reused,
      [
        { path: 'a', facts: null },
        { path: 'b', facts: other },
      ],
      0,
    );
    assert.deepEqual(
      ripen(reused, 10, 10).map(({ type, path }) => `${type} ${path}`),
      ['deleted a', 'created b'],
    );
  });

  it('a file that is replaced by another one has changed', () => {
    const changes = beginChanges([['a', one]]);
    see(changes, [{ path: 'a', facts: { ...one, inode: '2' } }], 0);
    assert.deepEqual(
      ripen(changes, 0, 0).map(({ type, path }) => `${type} ${path}`),
      ['changed a'],
    );
  });
});
