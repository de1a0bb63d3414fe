import assert from 'node:assert/strict';
import fc from 'fast-check';
import { canonicalJson, diffSettings, REDACTED, type SettingsChange } from '#core';
import { documentChanges, NAMED_LISTS, type DocumentChange } from '../../../core/settings/diff.ts';

type Tree = Record<string, unknown>;

const diff = (from: object, to: object) => diffSettings(JSON.stringify(from), JSON.stringify(to));

/** Makes one change come true in a copy whose named lists are objects by name. */
function applied(tree: Tree, { at, after }: DocumentChange): void {
  let place = tree;
  for (const name of at.slice(0, -1)) place = place[name] as Tree;
  if (after === undefined) delete place[at.at(-1)!];
  else place[at.at(-1)!] = after;
}

/** Named lists as objects, where order says nothing. */
function byName(document: Tree): Tree {
  const named = Object.entries(document).map(([list, value]) => {
    const field = NAMED_LISTS[list];
    if (field === undefined || !Array.isArray(value)) return [list, value];
    return [list, Object.fromEntries((value as Tree[]).map(item => [item[field], item]))];
  });
  return structuredClone(Object.fromEntries(named) as Tree);
}

const name = fc.stringMatching(/^[a-z]{1,3}$/);
const value = fc.jsonValue({ maxDepth: 3 }).filter(json => !JSON.stringify(json).includes('__proto__'));
const items = (field: string) =>
  fc.uniqueArray(
    fc.tuple(name, fc.dictionary(name, value)).map(([id, more]) => ({ ...more, [field]: `${id}-x` })),
    { selector: item => (item as Tree)[field], maxLength: 5 },
  );
const documents = fc.record(
  {
    ...Object.fromEntries(Object.entries(NAMED_LISTS).map(([list, field]) => [list, items(field)])),
    holdMs: fc.nat(),
    coordination: fc.dictionary(name, value),
    other: value,
  },
  { requiredKeys: [] },
) as fc.Arbitrary<Tree>;

describe('what differs between two settings documents', () => {
  it('is all that differs: applied to the one it yields the other', () => {
    fc.assert(
      fc.property(documents, documents, (from, to) => {
        const tree = byName(from);
        for (const change of documentChanges(from, to)) applied(tree, change);
        assert.equal(canonicalJson(byName(tree)), canonicalJson(byName(to)));
      }),
    );
  });

  it('is nothing else: every change differs, and no document differs from itself in another order', () => {
    fc.assert(
      fc.property(documents, documents, (from, to) => {
        for (const { before, after } of documentChanges(from, to)) {
          assert.notEqual(canonicalJson(before), canonicalJson(after));
        }
        const turned = Object.fromEntries(
          Object.entries(from)
            .toReversed()
            .map(([list, all]) => [list, NAMED_LISTS[list] && Array.isArray(all) ? all.toReversed() : all]),
        );
        assert.deepEqual(documentChanges(from, turned), []);
      }),
    );
  });

  it('names instances and nodes, wherever they stand in their lists', () => {
    const one = { id: 'one', packageName: 'a', instances: 1 };
    const two = { id: 'two', packageName: 'b' };
    const expected: SettingsChange[] = [
      { path: '$.componentInstances.one.instances', before: 1, after: 2 },
      { path: '$.componentInstances.two', after: two },
    ];
    const changes = diff(
      { componentInstances: [one] },
      { componentInstances: [two, { ...one, instances: 2 }] },
    );
    assert.deepEqual(changes, expected);
    assert.deepEqual(diff({ nodeServers: [{ networkName: 'n-1' }] }, { nodeServers: [] }), [
      { path: '$.nodeServers.n-1', before: { networkName: 'n-1' } },
    ]);
  });

  it('reads comments and trailing commas, and finds no difference in them', () => {
    assert.deepEqual(diffSettings('{"holdMs": 1}', '{ // how long\n "holdMs": 1, }'), []);
  });

  it('takes a list whose items cannot be told apart as a whole', () => {
    const twice = [
      { name: 'a', version: '1.0.0' },
      { name: 'a', version: '2.0.0' },
    ];
    assert.deepEqual(diff({ componentPackages: [] }, { componentPackages: twice }), [
      { path: '$.componentPackages', before: [], after: twice },
    ]);
  });

  it('hides secrets, whole or by the names above them, and tells that they changed', () => {
    const of = (settings: object) => ({ componentInstances: [{ id: 'my-secret', settings }] });
    const path = '$.componentInstances.my-secret.settings';
    assert.deepEqual(diff(of({ password: 'old', host: 'a' }), of({ password: 'new', host: 'b' })), [
      { path: `${path}.password`, before: REDACTED, after: REDACTED },
      { path: `${path}.host`, before: 'a', after: 'b' },
    ]);
    const [added] = diff(of({}), of({ db: { token: 'x', url: 'redis://me:pw@host' } }));
    assert.deepEqual(added, {
      path: `${path}.db`,
      after: { token: REDACTED, url: `redis://me:${REDACTED}@host` },
    });
    const [deep] = diff(of({ apiKey: { part: 'old' } }), of({ apiKey: { part: 'new' } }));
    assert.deepEqual(deep, { path: `${path}.apiKey.part`, before: REDACTED, after: REDACTED });
  });
});
