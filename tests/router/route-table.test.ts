import assert from 'node:assert/strict';
import fc from 'fast-check';
import { HoldfastError, LIMITS, type RouteSettings } from '#core';
import { buildRouteTable, findRoute, resourceKey, type Route } from '#router';

function settings(pathPrefix: string, from = 'path', segments: number | null = null): RouteSettings {
  return { pathPrefix, componentInstanceId: `pool ${pathPrefix}`, resourceKey: { from, segments } };
}
const tableOf = (...routes: RouteSettings[]) => buildRouteTable(routes).table;
const noHeaders = () => undefined;
const keyInvalid = (error: unknown) => error instanceof HoldfastError && error.code === 'HF_KEY_INVALID';

function only(route: RouteSettings): Route {
  return tableOf(route)[0]!;
}

describe('route table', () => {
  it('takes the longest prefix on segment boundaries', () => {
    const table = tableOf(settings('/db'), settings('/db/archive/'), settings('/d'));
    assert.equal(findRoute(table, '/db/archive/x')?.prefix, '/db/archive');
    assert.equal(findRoute(table, '/db/archives')?.prefix, '/db');
    assert.equal(findRoute(table, '/db')?.prefix, '/db');
    assert.equal(findRoute(table, '/dbx'), null);
    assert.equal(findRoute(table, '/'), null);
  });

  it('lets the prefix / take what is left', () => {
    const table = tableOf(settings('/'), settings('/db'));
    assert.equal(findRoute(table, '/dbx')?.prefix, '/');
    assert.equal(findRoute(table, '/db/x')?.prefix, '/db');
  });

  it('compares prefixes in canonical form and names those it leaves out', () => {
    const { table, problems } = buildRouteTable([settings('/d%62//é'), settings('/db/é'), settings('/a%zz')]);
    assert.deepEqual(
      table.map(route => route.prefix),
      ['/db/%C3%A9'],
    );
    assert.equal(problems.length, 2);
  });

  it('finds the route that a search over all of them finds', () => {
    const segment = fc.constantFrom('a', 'b', 'ab');
    const path = fc.array(segment, { maxLength: 4 }).map(parts => `/${parts.join('/')}`);
    fc.assert(
      fc.property(fc.uniqueArray(path, { maxLength: 8 }), path, (prefixes, asked) => {
        const covering = prefixes.filter(prefix => prefix === '/' || `${asked}/`.startsWith(`${prefix}/`));
        const longest = covering.sort((left, right) => right.length - left.length)[0] ?? null;
        assert.equal(
          findRoute(tableOf(...prefixes.map(prefix => settings(prefix))), asked)?.prefix ?? null,
          longest,
        );
      }),
    );
  });
});

describe('resourceKey', () => {
  it('is the whole path by default', () => {
    assert.equal(resourceKey(only(settings('/db')), '/db/a/b', noHeaders), '/db/a/b');
  });

  it('is the first segments where the route says so, and never less than the prefix', () => {
    assert.equal(resourceKey(only(settings('/db', 'path', 2)), '/db/a/b', noHeaders), '/db/a');
    assert.equal(resourceKey(only(settings('/db', 'path', 2)), '/db/a', noHeaders), '/db/a');
    assert.equal(resourceKey(only(settings('/x/y', 'path', 1)), '/x/y/z', noHeaders), '/x/y');
    assert.equal(resourceKey(only(settings('/', 'path', 1)), '/a/b', noHeaders), '/a');
  });

  it('refuses a path with too few segments', () => {
    assert.throws(() => resourceKey(only(settings('/db', 'path', 2)), '/db', noHeaders), keyInvalid);
    assert.throws(() => resourceKey(only(settings('/', 'path', 1)), '/', noHeaders), keyInvalid);
  });

  it('is prefix, name and value of a header, whatever the rest of the path', () => {
    const route = only(settings('/api', 'header:X-Tenant'));
    const headers = (value: string[] | undefined) => (name: string) =>
      name === 'x-tenant' ? value : undefined;
    assert.equal(resourceKey(route, '/api/a', headers(['b/c ü'])), '/api#x-tenant=b%2Fc%20%FC');
    assert.equal(resourceKey(route, '/api/z', headers(['b/c ü'])), '/api#x-tenant=b%2Fc%20%FC');
    for (const values of [undefined, [], [''], ['a', 'b']]) {
      assert.throws(() => resourceKey(route, '/api/a', headers(values)), keyInvalid);
    }
  });

  it('refuses a key over the limit', () => {
    const route = only(settings('/'));
    assert.equal(
      resourceKey(route, `/${'a'.repeat(LIMITS.keyBytesMax - 1)}`, noHeaders).length,
      LIMITS.keyBytesMax,
    );
    assert.throws(() => resourceKey(route, `/${'a'.repeat(LIMITS.keyBytesMax)}`, noHeaders), keyInvalid);
  });
});
