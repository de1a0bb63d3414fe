import assert from 'node:assert/strict';
import fc from 'fast-check';
import { compileSchema, describeProblem, isDeeperThan, jsonPath } from '#core';

describe('validation', () => {
  it('writes JSON paths that a person can follow', () => {
    assert.equal(jsonPath([]), '$');
    assert.equal(jsonPath(['a', 0, 'b-c', 'odd name', '1']), '$.a[0].b-c["odd name"]["1"]');
  });

  it('tells one problem in one line', () => {
    assert.equal(
      describeProblem({ path: '$.a', value: 'x', expected: 'integer' }),
      '$.a is "x", expected integer',
    );
    assert.equal(describeProblem({ path: '$.a', expected: 'a value' }), '$.a expected a value');
  });

  it('says for every keyword what was expected', () => {
    const cases: [object, unknown, string][] = [
      [{ type: 'string' }, 1, 'string'],
      [{ type: 'string', description: 'what to say' }, 1, 'string (what to say)'],
      [{ type: ['string', 'null'] }, 1, 'string,null'],
      [{ enum: ['a', 1] }, 'b', 'one of "a", 1'],
      [{ const: 'a' }, 'b', '"a"'],
      [{ minimum: 3 }, 1, 'at least 3'],
      [{ maximum: 3 }, 4, 'at most 3'],
      [{ minLength: 2 }, 'x', 'at least 2 characters'],
      [{ maxLength: 1 }, 'xy', 'at most 1 characters'],
      [{ pattern: '^a' }, 'b', 'text matching ^a'],
      [{ pattern: '^a', patternErrorMessage: 'an a first' }, 'b', 'an a first'],
      [{ multipleOf: 2 }, 3, 'multiple of 2'],
      [{ maxItems: 1 }, [1, 2], 'not have more than 1 items'],
      [
        { anyOf: [{ const: 'perNode' }, { type: 'integer', minimum: 0 }] },
        'x',
        'one of: "perNode", integer from 0',
      ],
      [
        { oneOf: [{ type: 'object', properties: { k: {} }, required: ['k'] }, { type: 'number' }] },
        'x',
        'one of: an object with k, number',
      ],
    ];
    for (const [schema, value, expected] of cases) {
      assert.deepEqual(compileSchema(schema)(value), [{ path: '$', value, expected }]);
    }
  });

  it('decodes names with slashes and tildes, and tells indexes from names', () => {
    const validate = compileSchema({
      type: 'object',
      properties: { 'a/b~c': { type: 'array', items: { type: 'string' } } },
    });
    assert.equal(validate({ 'a/b~c': ['x', 1] })[0]!.path, '$["a/b~c"][1]');
  });

  it('fills in defaults only if asked', () => {
    const schema = { type: 'object', properties: { a: { default: 1 } } };
    const [plain, filled] = [{}, {}];
    compileSchema(schema)(plain);
    compileSchema(schema, { useDefaults: true })(filled);
    assert.deepEqual([plain, filled], [{}, { a: 1 }]);
  });

  it('lets required values be missing if asked, and nothing else be wrong', () => {
    const validate = compileSchema(
      { type: 'object', required: ['a'], properties: { a: {}, b: { type: 'string' } } },
      { partial: true },
    );
    assert.deepEqual(validate({}), []);
    assert.equal(validate({ b: 1 })[0]!.path, '$.b');
  });

  it('lists at most 50 problems', () => {
    const validate = compileSchema({ items: { type: 'string' } });
    assert.equal(validate(Array.from({ length: 500 }, () => 1)).length, 50);
  });

  it('finds the same mistake forty thousand times without holding up its process', () => {
    const count = { anyOf: [{ type: 'integer' }, { const: 'perNode' }] };
    const items = { additionalProperties: false, properties: { count } };
    const validate = compileSchema({ type: 'array', items });
    const begun = performance.now();
    const problems = validate(Array.from({ length: 40_000 }, () => ({ bad: 1, count: 'x' })));
    assert(performance.now() - begun < 10_000); // it took 40 s
    assert.deepEqual(
      problems.slice(0, 2).map(problem => problem.expected),
      ['no such key; known keys: count', 'one of: integer, "perNode"'],
    );
  });

  it('ends a check that would not end, and goes on checking', () => {
    const schema = { properties: { a: { pattern: '^(a+)+$' } } };
    const validate = compileSchema(schema, { timeMsMax: 100 });
    assert.deepEqual(validate({ a: 'aaa' }), []);
    assert.throws(() => validate({ a: `${'a'.repeat(50)}!` }), /longer than 100 ms/);
    const many = { enum: Array.from({ length: 100_000 }, (_, index) => index) }; // each is compared with each
    assert.throws(() => compileSchema(many, { timeMsMax: 100 }), /longer than 100 ms/);
    assert.equal(compileSchema(schema, { timeMsMax: 100 })({ a: 'b' }).length, 1);
    assert.equal(compileSchema(schema)({ a: 'b' }).length, 1);
  });

  it('tells how deep a document is, however deep', () => {
    const nested = (depth: number) =>
      JSON.parse(`${'{"a":['.repeat(depth / 2)}1${']}'.repeat(depth / 2)}`) as unknown;
    assert.equal(isDeeperThan(nested(100), 100), false);
    assert.equal(isDeeperThan(nested(102), 100), true);
    assert.equal(isDeeperThan(nested(1_000_000), 100), true);
    for (const flat of [null, 1, 'x', [], {}, [[]]]) assert.equal(isDeeperThan(flat, 1), false);
  });

  it('throws for a schema that is none, or that would answer later', () => {
    assert.throws(() => compileSchema({ type: 'nope' }));
    assert.throws(() => compileSchema({ type: 'nope' }, { trusted: true }));
    assert.throws(() => compileSchema({ $async: true }));
    assert.doesNotThrow(() => compileSchema({ type: 'string', format: 'unheard-of' }));
  });

  it('shows no secrets and no pages', () => {
    const validate = compileSchema({
      type: 'object',
      additionalProperties: false,
      properties: { o: { type: 'string' }, databasePassword: { type: 'string' }, url: { type: 'number' } },
    });
    const problems = validate({
      o: { api_key: 'k1', deep: [{ clientSecret: 'k2' }] },
      databasePassword: ['k3'],
      url: 'redis://me:k4@host/0',
      authToken: 'k5',
    });
    assert.equal(problems.length, 4);
    assert.doesNotMatch(JSON.stringify(problems), /k[1-5]/);
    fc.assert(
      fc.property(fc.jsonValue(), value => {
        const [problem] = compileSchema({ const: Symbol.iterator.toString() })({ value });
        assert((JSON.stringify(problem!.value) ?? '').length < 450);
      }),
    );
  });
});
