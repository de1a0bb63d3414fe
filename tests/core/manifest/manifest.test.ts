import assert from 'node:assert/strict';
import fc from 'fast-check';
import semver from 'semver';
import {
  configure,
  HoldfastError,
  parseInstalledManifest,
  parseManifest,
  type Manifest,
  type Problem,
} from '#core';

const valid = { packageName: 'hello', packageVersion: '1.0.0', kind: 'component', main: 'index.js' };

function problemsOf(document: unknown): Problem[] {
  try {
    parseManifest(typeof document === 'string' ? document : JSON.stringify(document));
  } catch (error) {
    assert(error instanceof HoldfastError);
    assert.equal(error.code, 'HF_PACKAGE_INVALID');
    assert.equal(error.details.entry, 'manifest.json');
    return error.details.problems as Problem[];
  }
  return [];
}

describe('manifest', () => {
  it('fills in its defaults', () => {
    assert.deepEqual(parseManifest(`\uFEFF${JSON.stringify(valid)}`), {
      ...valid,
      contentRoot: 'content',
      export: 'default',
      defaultConfiguration: {},
    });
  });

  it('takes the older spellings, and the present ones first', () => {
    const older = {
      name: 'old-one',
      version: '2.0.0',
      main: 'a.js',
      componentType: 'MessagePublisher',
      extensionProperties: { a: 1 },
    };
    const { packageName, packageVersion, kind, defaultConfiguration } = parseManifest(JSON.stringify(older));
    assert.deepEqual(
      { packageName, packageVersion, kind, defaultConfiguration },
      { packageName: 'old-one', packageVersion: '2.0.0', kind: 'publisher', defaultConfiguration: { a: 1 } },
    );
    assert.equal(parseManifest(JSON.stringify({ ...older, componentType: 'componentHost' })).kind, 'host');
    assert.equal(parseManifest(JSON.stringify({ ...valid, name: 'other' })).packageName, 'hello');
  });

  describe('refuses, with path, value and what was expected', () => {
    const cases: [string, unknown, string, unknown, RegExp][] = [
      ['text that is no JSON', '{', '$', undefined, /^JSON \(/],
      ['a list', [], '$', [], /^object/],
      ['a missing main', { ...valid, main: undefined }, '$.main', undefined, /missing/],
      ['an unknown kind', { ...valid, kind: 'x' }, '$.kind', 'x', /"host", "component", "publisher"/],
      ['an older kind that was none', { ...valid, kind: undefined, componentType: 3 }, '$.kind', 3, /"host"/],
      ['an unknown key', { ...valid, mian: 1 }, '$.mian', 1, /no such key; known keys: .*main/],
      ['a name with a slash', { ...valid, packageName: 'a/b' }, '$.packageName', 'a/b', /lower-case/],
      ['a name of dots', { ...valid, packageName: '..' }, '$.packageName', '..', /lower-case/],
      [
        'a version that is none',
        { ...valid, packageVersion: '1' },
        '$.packageVersion',
        '1',
        /semantic version/,
      ],
      ['main outside', { ...valid, main: '../x.js' }, '$.main', '../x.js', /inside the package/],
      ['main from the root', { ...valid, main: '/x.js' }, '$.main', '/x.js', /inside the package/],
      ['main on a drive', { ...valid, main: 'C:x.js' }, '$.main', 'C:x.js', /inside the package/],
      ['main with backslashes', { ...valid, main: 'a\\..\\x' }, '$.main', 'a\\..\\x', /forward slashes/],
      ['a NUL in main', { ...valid, main: 'a\0b' }, '$.main', 'a\0b', /inside the package/],
      [
        'contentRoot outside',
        { ...valid, contentRoot: 'a/../..' },
        '$.contentRoot',
        'a/../..',
        /inside the package/,
      ],
      [
        'an unknown permission',
        { ...valid, permissions: { root: true } },
        '$.permissions.root',
        true,
        /no such key/,
      ],
      [
        'a permission that is no boolean',
        { ...valid, permissions: { cluster: 'yes' } },
        '$.permissions.cluster',
        'yes',
        /boolean/,
      ],
      [
        'a schema that is none',
        { ...valid, configurationSchema: { type: 'nope' } },
        '$.configurationSchema',
        undefined,
        /JSON Schema of draft-07/,
      ],
      [
        'a schema with a broken pattern',
        { ...valid, configurationSchema: { properties: { a: { pattern: '(' } } } },
        '$.configurationSchema',
        undefined,
        /regular expression/,
      ],
      [
        'a schema that points elsewhere',
        { ...valid, configurationSchema: { $ref: 'http://example.com/x' } },
        '$.configurationSchema',
        undefined,
        /reference/,
      ],
      [
        'an asynchronous schema',
        { ...valid, configurationSchema: { $async: true } },
        '$.configurationSchema',
        undefined,
        /\$async/,
      ],
      [
        'defaults that break their own schema',
        {
          ...valid,
          configurationSchema: { properties: { a: { type: 'string' } } },
          defaultConfiguration: { a: 1 },
        },
        '$.defaultConfiguration.a',
        1,
        /string/,
      ],
    ];
    for (const [title, document, path, value, expected] of cases) {
      it(title, () => {
        const [problem] = problemsOf(document);
        assert(problem);
        assert.equal(problem.path, path);
        assert.deepEqual(problem.value, value);
        assert.match(problem.expected, expected);
      });
    }
  });

  it('lets defaults leave to the instance what the schema requires', () => {
    const configurationSchema = {
      type: 'object',
      required: ['url'],
      properties: { url: { type: 'string' } },
    };
    assert.deepEqual(problemsOf({ ...valid, configurationSchema }), []);
  });

  it('refuses a schema that takes for ever to check, or refers to itself without end', () => {
    const defaultConfiguration = { a: `${'a'.repeat(60)}!` };
    const endless = { properties: { a: { pattern: '^(a+)+$' } } };
    const circle = {
      definitions: {
        x: { allOf: [{ $ref: '#/definitions/y' }] },
        y: { allOf: [{ $ref: '#/definitions/x' }] },
      },
      properties: { a: { $ref: '#/definitions/x' } },
    };
    for (const configurationSchema of [endless, circle]) {
      const problems = problemsOf({ ...valid, defaultConfiguration, configurationSchema });
      assert.deepEqual(
        problems.map(problem => problem.path),
        ['$.configurationSchema'],
      );
    }
    // What is installed was checked; a host pays nothing for that again.
    const text = JSON.stringify({ ...valid, defaultConfiguration, configurationSchema: endless });
    assert.deepEqual(parseInstalledManifest(text).defaultConfiguration, defaultConfiguration);
  });

  it('refuses a manifest that is too deep to walk through', () => {
    const deep = `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`;
    const text = JSON.stringify(valid).replace('}', `,"defaultConfiguration":${deep}}`);
    assert.deepEqual(problemsOf(text), [{ path: '$', expected: 'nothing deeper than 100 levels' }]);
  });

  it('takes exactly the versions that can be compared', () => {
    const part = fc.oneof(fc.nat(), fc.constantFrom('0', '01', '', 'x', '-', '9007199254740993'));
    const version = fc
      .tuple(part, part, part, fc.constantFrom('', '-a.1', '-01', '-..', '-', '+b', '-rc.1+build.5'))
      .map(([major, minor, patch, rest]) => `${major}.${minor}.${patch}${rest}`);
    fc.assert(
      fc.property(version, packageVersion => {
        const accepted = problemsOf({ ...valid, packageVersion }).length === 0;
        assert.equal(accepted, semver.valid(packageVersion) !== null && packageVersion.length <= 64);
      }),
      { numRuns: 500 },
    );
  });

  it('never throws anything but HF_PACKAGE_INVALID, whatever the text', () => {
    const change = fc.dictionary(
      fc.constantFrom(
        ...Object.keys(valid),
        'name',
        'permissions',
        'configurationSchema',
        'defaultConfiguration',
      ),
      fc.jsonValue({ maxDepth: 2 }),
    );
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), text => void problemsOf(text)));
    fc.assert(fc.property(change, fields => void problemsOf({ ...valid, ...fields })));
  });
});

describe('configure', () => {
  const manifest = {
    packageName: 'hello',
    defaultConfiguration: { greeting: 'Hello', nested: { a: 1, b: 2 } },
    configurationSchema: {
      type: 'object',
      additionalProperties: false,
      properties: {
        greeting: { type: 'string', minLength: 1 },
        nested: { type: 'object' },
        times: { type: 'integer', default: 3 },
        password: { type: 'string' },
      },
    },
  } satisfies Pick<Manifest, 'packageName' | 'defaultConfiguration' | 'configurationSchema'>;

  it('overlays the defaults key by key, adds the schema’s, and freezes the result', () => {
    const settings = configure(manifest, { nested: { c: 3 } });
    assert.deepEqual(settings, { greeting: 'Hello', nested: { c: 3 }, times: 3 });
    assert(Object.isFrozen(settings.nested));
    assert.deepEqual(manifest.defaultConfiguration.nested, { a: 1, b: 2 });
    assert(!Object.isFrozen(manifest.defaultConfiguration.nested));
  });

  it('refuses what the schema does not allow, with the path in the document', () => {
    assert.throws(
      () => configure(manifest, { greeting: '', greting: 1 }, '$.componentInstances[2].settings'),
      (error: unknown) => {
        assert(error instanceof HoldfastError);
        assert.equal(error.code, 'HF_SETTINGS_INVALID');
        assert.deepEqual(
          (error.details.problems as Problem[]).map(({ path }) => path),
          ['$.componentInstances[2].settings.greting', '$.componentInstances[2].settings.greeting'],
        );
        return true;
      },
    );
  });

  it('refuses settings that take for ever to check, or are too deep, with the path in the document', () => {
    const configurationSchema = { properties: { a: { type: 'string', pattern: '^(a+)+$' } } };
    const manifest = { packageName: 'hello', defaultConfiguration: {}, configurationSchema };
    const deep = JSON.parse(`${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`) as Record<string, unknown>;
    for (const settings of [{ a: `${'a'.repeat(60)}!` }, deep]) {
      assert.throws(
        () => configure(manifest, settings, '$.settings'),
        (error: HoldfastError) => {
          assert.equal(error.code, 'HF_SETTINGS_INVALID');
          const [problem] = error.details.problems as Problem[];
          assert.equal(problem!.path, '$.settings');
          return true;
        },
      );
    }
  });

  it('does not tell secrets when it refuses them', () => {
    assert.throws(
      () => configure(manifest, { password: 1234567 }),
      (error: unknown) => {
        assert(error instanceof HoldfastError);
        assert(!`${error.message}${JSON.stringify(error.details)}`.includes('1234567'));
        return true;
      },
    );
  });

  it('checks nothing without a schema', () => {
    const { configurationSchema: _, ...open } = manifest;
    assert.deepEqual(configure(open, { anything: [1] }), { ...open.defaultConfiguration, anything: [1] });
  });
});
