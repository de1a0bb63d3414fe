import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { DEFAULTS, HoldfastError, parseSettings, settingsEtag, type Problem } from '#core';

// Settings as an author writes them, changed by each test at will.
interface Loose {
  [name: string]: unknown;
  nodeServers: Record<string, unknown>[];
  componentInstances: Record<string, unknown>[];
  routes: Record<string, unknown>[];
}

function valid(): Loose {
  return {
    clusterName: 'demo',
    nodeServers: [{ networkName: 'node-1', nodeApiUri: 'http://127.0.0.1:5101' }],
    componentPackages: [{ name: 'hello', version: '1.0.0' }],
    componentInstances: [{ id: 'greet', packageName: 'hello' }],
    routes: [{ pathPrefix: '/greet', componentInstanceId: 'greet' }],
  };
}

function problemsOf(text: string, known: ReadonlySet<string> | null = null): Problem[] {
  try {
    parseSettings(text, known);
  } catch (error) {
    assert(error instanceof HoldfastError);
    assert.equal(error.code, 'HF_SETTINGS_INVALID');
    assert.equal(error.statusCode, 422);
    return error.details.problems as Problem[];
  }
  return [];
}

describe('settings', () => {
  it('fills in every default, freezes all, and warns of nothing', () => {
    const { settings, warnings } = parseSettings(JSON.stringify(valid()));
    assert.deepEqual(warnings, []);
    assert.equal(settings.syncIntervalMs, DEFAULTS.syncIntervalMs);
    assert.equal(settings.holdMs, DEFAULTS.holdMs);
    assert.deepEqual(settings.coordination, { kind: 'embedded', urls: [] });
    assert.deepEqual(settings.nodeServers[0], {
      networkName: 'node-1',
      networkIp: '127.0.0.1',
      nodeApiUri: 'http://127.0.0.1:5101',
      capacity: 16,
      labels: {},
    });
    assert.deepEqual(settings.componentInstances[0], {
      id: 'greet',
      packageName: 'hello',
      packageVersion: null,
      instances: 1,
      settings: {},
      messagePublisher: null,
      constraints: { labels: {}, spread: null, antiAffinity: [] },
      resources: { memoryMb: null, weight: 1 },
      restart: { maxAttempts: 5, windowMs: 60_000, backoffMs: 200, backoffMaxMs: 10_000 },
      update: {
        strategy: 'rolling',
        maxUnavailable: 1,
        maxSurge: 1,
        canary: { instances: 1, promoteAfterMs: null },
        healthyAfterMs: 2_000,
        deadlineMs: 60_000,
        autoRollback: true,
      },
      health: { livenessMs: DEFAULTS.livenessMs, http: null },
      job: null,
      env: {},
      concurrency: 0,
      idleMs: 0,
      onAuthorityLoss: 'stop',
      ports: [],
    });
    assert.deepEqual(settings.routes[0]!.resourceKey, { from: 'path', segments: null });
    assert.throws(() => settings.componentInstances.push(settings.componentInstances[0]!), TypeError);
    assert.throws(() => (settings.componentInstances[0]!.restart.backoffMs = 1), TypeError);
  });

  it('reads the settings that are shipped', async () => {
    const text = await readFile(join(import.meta.dirname, '../../../cluster-settings.json'), 'utf8');
    assert.deepEqual(problemsOf(text), []);
  });

  it('takes comments, trailing commas and a byte order mark', () => {
    const text = `\uFEFF// my cluster\n{"clusterName": "demo", /* none yet */ "nodeServers": [],}`;
    assert.equal(parseSettings(text).settings.clusterName, 'demo');
  });

  it('lets a request outlast the loss of a node, whatever the session’s time to live', () => {
    const { settings } = parseSettings(JSON.stringify({ ...valid(), sessionTtlMs: 60_000 }));
    assert.equal(settings.holdMs, 62_000);
  });

  it('reads the misspelt componnetHostPackageName, with a warning', () => {
    const { settings, warnings } = parseSettings(
      JSON.stringify({ ...valid(), componnetHostPackageName: 'my-host' }),
    );
    assert.equal(settings.componentHostPackageName, 'my-host');
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]!, /misspelt/);
  });

  it('takes a number of spares alone, or with the memory that they may take', () => {
    const spares = (warmSpares: unknown) =>
      parseSettings(JSON.stringify({ ...valid(), warmSpares })).settings.warmSpares;
    assert.deepEqual(spares(undefined), { perNode: 1, memoryMb: 128 });
    assert.deepEqual(spares(3), { perNode: 3, memoryMb: 128 });
    assert.deepEqual(spares({ memoryMb: 64 }), { perNode: 1, memoryMb: 64 });
    assert.deepEqual(spares({ perNode: 0, memoryMb: 0 }), { perNode: 0, memoryMb: 0 });
  });

  it('takes an uploaded package for known', () => {
    const document = JSON.stringify({ ...valid(), componentPackages: [] });
    assert.deepEqual(problemsOf(document, new Set(['hello'])), []);
    assert.equal(problemsOf(document, new Set())[0]!.path, '$.componentInstances[0].packageName');
  });

  describe('bad input gets path, value and what was expected', () => {
    const instance = (change: object) => (document: Loose) =>
      void Object.assign(document.componentInstances[0]!, change);
    const route = (change: object) => (document: Loose) => void Object.assign(document.routes[0]!, change);
    const node = (change: object) => (document: Loose) =>
      void Object.assign(document.nodeServers[0]!, change);
    const top = (change: object) => (document: Loose) => void Object.assign(document, change);

    const cases: [string, (document: Loose) => void, Problem][] = [
      [
        'an unknown key',
        top({ routs: [] }),
        { path: '$.routs', value: [], expected: 'no such key; known keys: $schema,' },
      ],
      [
        'both spellings',
        top({ componnetHostPackageName: 'a', componentHostPackageName: 'b' }),
        { path: '$.componnetHostPackageName', value: 'a', expected: 'no such key' },
      ],
      [
        'a missing name',
        document => delete document.clusterName,
        { path: '$.clusterName', expected: 'a value (it is missing)' },
      ],
      [
        'an empty name',
        top({ clusterName: '' }),
        { path: '$.clusterName', value: '', expected: 'a name of 1 to 64' },
      ],
      [
        'a wrong type',
        top({ syncIntervalMs: '5' }),
        { path: '$.syncIntervalMs', value: '5', expected: 'integer' },
      ],
      [
        'a fraction',
        top({ syncIntervalMs: 200.5 }),
        { path: '$.syncIntervalMs', value: 200.5, expected: 'integer' },
      ],
      ['too small', top({ sessionTtlMs: 1 }), { path: '$.sessionTtlMs', value: 1, expected: 'at least 500' }],
      [
        'too large',
        top({ sessionTtlMs: 1e9 }),
        { path: '$.sessionTtlMs', value: 1e9, expected: 'at most 300000' },
      ],
      [
        'a hold time below the session’s',
        top({ holdMs: 5_000 }),
        { path: '$.holdMs', value: 5_000, expected: 'at least sessionTtlMs + 2000 (7000)' },
      ],
      ['an object for a list', top({ routes: {} }), { path: '$.routes', value: {}, expected: 'array' }],
      [
        'a store that is not there',
        top({ coordination: { kind: 'mysql' } }),
        { path: '$.coordination.kind', value: 'mysql', expected: 'one of: "embedded", "redis"' },
      ],
      [
        'a store that serves leases only',
        top({ coordination: { kind: 'etcd' } }),
        {
          path: '$.coordination.kind',
          value: 'etcd',
          expected: '"embedded" or "redis"; etcd serves leases as a library',
        },
      ],
      [
        'a Redis without a URL',
        top({ coordination: { kind: 'redis' } }),
        { path: '$.coordination.urls', expected: 'at least one URL' },
      ],
      [
        'an empty list of URLs',
        top({ coordination: { kind: 'redis', urls: [] } }),
        { path: '$.coordination.urls', expected: 'at least one URL' },
      ],
      ['too many managers', top({ managers: 4 }), { path: '$.managers', value: 4, expected: 'at most 3' }],
      [
        'several managers on several machines that only their own would reach',
        document => {
          Object.assign(document, {
            managers: 2,
            nodeServers: [
              { networkName: 'a', nodeApiUri: 'http://10.0.0.4:5100' },
              { networkName: 'b', nodeApiUri: 'http://10.0.0.5:5100' },
            ],
            componentPackages: [{ name: 'node-manager', version: '1.0.0' }],
            componentInstances: [{ id: 'm', packageName: 'node-manager', settings: { host: 'localhost' } }],
            routes: [],
          });
        },
        {
          path: '$.componentInstances[0].settings.host',
          value: 'localhost',
          expected: 'an address that other machines reach',
        },
      ],
      [
        'another protocol',
        node({ nodeApiUri: 'ftp://x' }),
        { path: '$.nodeServers[0].nodeApiUri', value: 'ftp://x', expected: 'an http(s) URI' },
      ],
      [
        'a port that is none',
        node({ nodeApiUri: 'http://a:99999' }),
        { path: '$.nodeServers[0].nodeApiUri', value: 'http://a:99999', expected: 'a URI with a host' },
      ],
      [
        'credentials in a URI',
        node({ nodeApiUri: 'http://me:pass@a:1' }),
        {
          path: '$.nodeServers[0].nodeApiUri',
          value: 'http://me:[redacted]@a:1',
          expected: 'an http(s) URI',
        },
      ],
      [
        'a node twice',
        document => void document.nodeServers.push({ ...document.nodeServers[0]!, nodeApiUri: 'http://b' }),
        {
          path: '$.nodeServers[1].networkName',
          value: 'node-1',
          expected: 'a value not used before (nodeServers[0] has it)',
        },
      ],
      [
        'an address twice',
        document =>
          void document.nodeServers.push({ networkName: 'b', nodeApiUri: 'http://127.0.0.1:5101/' }),
        {
          path: '$.nodeServers[1].nodeApiUri',
          value: 'http://127.0.0.1:5101',
          expected: 'a value not used before',
        },
      ],
      [
        'an instance twice',
        document => void document.componentInstances.push(document.componentInstances[0]!),
        { path: '$.componentInstances[1].id', value: 'greet', expected: 'a value not used before' },
      ],
      [
        'a package twice',
        top({
          componentPackages: [
            { name: 'hello', version: '1.0.0' },
            { name: 'hello', version: '1.0.0' },
          ],
        }),
        { path: '$.componentPackages[1].name', value: 'hello@1.0.0', expected: 'a value not used before' },
      ],
      [
        'copies that are no number',
        instance({ instances: 'many' }),
        {
          path: '$.componentInstances[0].instances',
          value: 'many',
          expected: 'one of: integer from 0 to 100000, "perNode"',
        },
      ],
      [
        'half a copy',
        instance({ instances: 0.5 }),
        { path: '$.componentInstances[0].instances', value: 0.5, expected: 'one of: integer' },
      ],
      [
        'half a version',
        instance({ packageVersion: '1.0' }),
        { path: '$.componentInstances[0].packageVersion', value: '1.0', expected: 'a semantic version' },
      ],
      [
        'a version with leading zeros',
        instance({ packageVersion: '1.02.0' }),
        { path: '$.componentInstances[0].packageVersion', value: '1.02.0', expected: 'a semantic version' },
      ],
      [
        'a package name in capitals',
        instance({ packageName: 'Hello' }),
        {
          path: '$.componentInstances[0].packageName',
          value: 'Hello',
          expected: 'a name of 1 to 64 lower-case',
        },
      ],
      [
        'a publisher without package',
        instance({ messagePublisher: {} }),
        { path: '$.componentInstances[0].messagePublisher.packageName', expected: 'a value (it is missing)' },
      ],
      [
        'an unknown neighbour',
        instance({ constraints: { antiAffinity: ['x'] } }),
        {
          path: '$.componentInstances[0].constraints.antiAffinity[0]',
          value: 'x',
          expected: 'the id of an instance',
        },
      ],
      [
        'a port of zero',
        instance({ ports: [0] }),
        { path: '$.componentInstances[0].ports[0]', value: 0, expected: 'at least 1' },
      ],
      [
        'a longest wait below the first',
        instance({ restart: { backoffMs: 9, backoffMaxMs: 1 } }),
        {
          path: '$.componentInstances[0].restart.backoffMaxMs',
          value: 1,
          expected: 'at least backoffMs (9)',
        },
      ],
      [
        'a variable with a bad name',
        instance({ env: { '1A': 'x' } }),
        { path: '$.componentInstances[0].env["1A"]', value: '[redacted]', expected: 'no such key' },
      ],
      [
        'a variable of the agent',
        instance({ env: { HOLDFAST_X: 'x' } }),
        { path: '$.componentInstances[0].env.HOLDFAST_X', value: '[redacted]', expected: 'no such key' },
      ],
      [
        'a variable that is no text',
        instance({ env: { A: 12345 } }),
        {
          path: '$.componentInstances[0].env.A',
          value: '[redacted]',
          expected: 'one of: string, an object with secretRef',
        },
      ],
      [
        'a route to nowhere',
        route({ componentInstanceId: 'gone' }),
        { path: '$.routes[0].componentInstanceId', value: 'gone', expected: 'the id of an instance (greet)' },
      ],
      [
        'a route twice',
        document => void document.routes.push(document.routes[0]!),
        { path: '$.routes[1].pathPrefix', value: '/greet', expected: 'a value not used before' },
      ],
      [
        'a prefix without slash',
        route({ pathPrefix: 'greet' }),
        { path: '$.routes[0].pathPrefix', value: 'greet', expected: 'a path that begins with /' },
      ],
      [
        'a prefix that ends with a slash',
        route({ pathPrefix: '/greet/' }),
        { path: '$.routes[0].pathPrefix', value: '/greet/', expected: 'a path that begins with /' },
      ],
      [
        'a prefix with a query',
        route({ pathPrefix: '/a?b' }),
        { path: '$.routes[0].pathPrefix', value: '/a?b', expected: 'a path that begins with /' },
      ],
      [
        'a prefix with dots',
        route({ pathPrefix: '/a/../b' }),
        { path: '$.routes[0].pathPrefix', value: '/a/../b', expected: 'a path without dot segments' },
      ],
      [
        'a key from nowhere',
        route({ resourceKey: { from: 'cookie' } }),
        { path: '$.routes[0].resourceKey.from', value: 'cookie', expected: '"path" or "header:<name>"' },
      ],
      [
        'segments of a header',
        route({ resourceKey: { from: 'header:x', segments: 1 } }),
        { path: '$.routes[0].resourceKey.segments', value: 1, expected: 'no segments unless from is "path"' },
      ],
    ];
    for (const [title, change, expected] of cases) {
      it(title, () => {
        const document = valid();
        change(document);
        const [problem, ...more] = problemsOf(JSON.stringify(document));
        assert(problem);
        assert.deepEqual(more, []);
        assert.equal(problem.path, expected.path);
        assert.deepEqual(problem.value, expected.value);
        assert(problem.expected.startsWith(expected.expected), problem.expected);
      });
    }

    it('text that is no JSON: with line and column', () => {
      assert.deepEqual(problemsOf('{\n  "clusterName": "a",\n  "nodeServers": [}\n'), [
        { path: '$.nodeServers[0]', expected: 'valid JSON (value expected at line 3, column 19)' },
      ]);
      for (const text of ['', '{', '{"a" 1}', 'nonsense', '{} {}', '{"a":"\u0001"}']) {
        assert.match(problemsOf(text)[0]!.expected, /^valid JSON/, text);
      }
    });

    it('JSON that is no object', () => {
      for (const text of ['[]', 'null', '1', '"x"']) {
        assert.deepEqual(problemsOf(text), [{ path: '$', value: JSON.parse(text), expected: 'object' }]);
      }
    });

    it('a name twice in one object, at any depth', () => {
      const text = '{"clusterName": "a", "nodeServers": [{"labels": {"x": "1",\n "x": "2"}}]}';
      assert.deepEqual(problemsOf(text), [
        { path: '$.nodeServers[0].labels.x', expected: 'this name once only (again at line 2, column 2)' },
      ]);
    });

    it('names that mean something to JavaScript', () => {
      const text = '{"__proto__": {"clusterName": "a"}, "nodeServers": []}';
      assert.equal(problemsOf(text)[0]!.path, '$.__proto__');
    });

    it('what is too deep to walk through', () => {
      for (const deep of [
        `{"a":${'['.repeat(200_000)}`,
        `${'{"a":'.repeat(200_000)}1${'}'.repeat(200_000)}`,
      ]) {
        const [problem, ...others] = problemsOf(deep);
        assert.equal(problem!.path, '$');
        assert.match(problem!.expected, /^nothing deeper than 100 levels \(line 1, column \d+\)$/);
        assert.deepEqual(others, []);
      }
    });

    it('the same mistake many times: the first fifty, and short', () => {
      const many = <Item>(make: (index: number) => Item) => Array.from({ length: 2_000 }, (_, i) => make(i));
      const instances = many(index => ({ id: `i${index}`, packageName: 'hello' }));
      const lost = many(index => ({ pathPrefix: `/r${index}`, componentInstanceId: 'lost' }));
      for (const text of [
        `{${many(() => '"a":1').join(',')}}`,
        JSON.stringify({ ...valid(), componentInstances: many(() => ({ id: 'i', packageName: 'hello' })) }),
        JSON.stringify({ ...valid(), componentInstances: instances, routes: lost }),
      ]) {
        const problems = problemsOf(text);
        assert.equal(problems.length, 50);
        assert(JSON.stringify(problems).length < 20_000);
      }
    });

    it('too much of it', () => {
      assert.match(
        problemsOf(`{"clusterName": "${'x'.repeat(5_000_000)}"}`)[0]!.expected,
        /at most \d+ bytes/,
      );
    });

    it('a wrong budget for spares, by its place', () => {
      const document = { ...valid(), warmSpares: { perNode: 1, memoryMb: -1 } };
      assert.match(JSON.stringify(problemsOf(JSON.stringify(document))), /\$\.warmSpares/);
    });

    it('several mistakes: all of them at once', () => {
      const document = { ...valid(), syncIntervalMs: 'x', warmSpares: -1, wrong: true };
      assert.deepEqual(
        new Set(problemsOf(JSON.stringify(document)).map(problem => problem.path)),
        new Set(['$.syncIntervalMs', '$.warmSpares', '$.wrong']),
      );
    });

    it('never shows what a secret’s name hides, nor pages of a value', () => {
      const document = valid();
      Object.assign(document.componentInstances[0]!, {
        dbPassword: 'hunter2',
        junk: { apiToken: 'abc', x: 'y'.repeat(900) },
      });
      const text = JSON.stringify(problemsOf(JSON.stringify(document)));
      assert(!text.includes('hunter2') && !text.includes('abc'));
      assert(text.length < 2_000);
    });
  });

  it('never throws anything but HF_SETTINGS_INVALID, whatever the text', () => {
    const key = fc.oneof(
      fc.string(),
      fc.constantFrom(...Object.keys(valid()), 'id', 'packageName', 'networkName'),
    );
    const json = fc.jsonValue({ maxDepth: 3 });
    const nearly = fc
      .dictionary(key, json, { maxKeys: 4 })
      .map(change => JSON.stringify({ ...valid(), ...change }));
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          json.map(value => JSON.stringify(value)),
          nearly,
        ),
        text => {
          problemsOf(text, new Set(['hello']));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('gives equal texts equal ETags, and others others', () => {
    assert.equal(settingsEtag('{}'), settingsEtag('{}'));
    assert.notEqual(settingsEtag('{}'), settingsEtag('{ }'));
    assert.match(settingsEtag('{}'), /^"[0-9a-f]{32}"$/);
  });
});
