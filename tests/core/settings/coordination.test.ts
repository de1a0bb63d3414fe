import assert from 'node:assert/strict';
import {
  coordinationInUseProblems,
  describeStore,
  HoldfastError,
  isSameStore,
  parseSettings,
  redisAddress,
  redisAddressProblems,
  type CoordinationAddress,
  type Problem,
} from '#core';

const password = 'hunter2';

function textOf(coordination: unknown, more: object = {}): string {
  return JSON.stringify({
    clusterName: 'demo',
    coordination,
    nodeServers: [{ networkName: 'node-1', nodeApiUri: 'http://127.0.0.1:5101' }],
    ...more,
  });
}

function refused(coordination: unknown): HoldfastError {
  try {
    parseSettings(textOf(coordination));
  } catch (error) {
    assert(error instanceof HoldfastError);
    return error;
  }
  assert.fail('it was accepted');
}

const redis = (...urls: unknown[]) => ({ kind: 'redis', urls });

describe('coordination in the settings', () => {
  it('takes one Redis or several, by URL or by secret', () => {
    const urls = [
      'redis://10.0.0.5',
      'rediss://holdfast@redis.internal:6380/3',
      'redis://[::1]:7000/',
      { secretRef: 'redis-url' },
    ];
    const { settings, warnings } = parseSettings(textOf(redis(...urls)));
    assert.deepEqual(settings.coordination, { kind: 'redis', urls });
    assert.deepEqual(warnings, []);
  });

  it('warns of a password that every reader of the settings can see, without showing it', () => {
    const { warnings } = parseSettings(textOf(redis('redis://10.0.0.5', `redis://:${password}@10.0.0.6`)));
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]!, /^\$\.coordination\.urls\[1\] holds a password/);
    assert(!warnings[0]!.includes(password));
  });

  const bad: [title: string, url: unknown][] = [
    ['another protocol', `http://:${password}@10.0.0.5`],
    ['no protocol', `10.0.0.5:6379?${password}`],
    ['no host', `redis://:${password}@`],
    ['a port too large', `redis://:${password}@10.0.0.5:99999`],
    ['a database that is no number', `redis://:${password}@10.0.0.5/main`],
    ['options', `redis://10.0.0.5?password=${password}`],
    ['a slash in the password', `redis://:${password}/x@10.0.0.5`],
    ['a bare percent sign', `redis://:${password}%@10.0.0.5`],
    ['what is no text', { url: `redis://:${password}@10.0.0.5` }],
    ['a number', 6379],
  ];
  for (const [title, url] of bad) {
    it(`refuses ${title}, with its path and without its password`, () => {
      const error = refused(redis('redis://10.0.0.4', url));
      const [problem] = error.details.problems as Problem[];
      assert(problem!.path.startsWith('$.coordination.urls[1]'), problem!.path);
      assert(!JSON.stringify([error.message, error.details]).includes(password), error.message);
    });
  }

  it('does not show URLs that stand in the wrong place', () => {
    for (const coordination of [
      { kind: 'redis', urls: `redis://:${password}/@10.0.0.5` },
      { kind: 'embedded', urls: [`redis://:${password}/@10.0.0.5`] },
    ]) {
      const error = refused(coordination);
      assert(!JSON.stringify([error.message, error.details]).includes(password), error.message);
    }
  });

  it('refuses the same Redis twice, however it is written', () => {
    const error = refused(
      redis('redis://Redis.internal', { secretRef: 'a' }, `redis://:${password}@redis.internal:6379/0`),
    );
    const [problem] = error.details.problems as Problem[];
    assert.equal(problem!.path, '$.coordination.urls[2]');
    assert.match(
      problem!.expected,
      /another Redis than \$\.coordination\.urls\[0\] .*redis\.internal:6379\/0/,
    );
  });

  for (const kind of ['postgres', 'etcd']) {
    it(`says that ${kind} serves leases only`, () => {
      const [problem] = refused({ kind, urls: ['x://y'] }).details.problems as Problem[];
      assert.equal(problem!.path, '$.coordination.kind');
      assert.match(problem!.expected, /serves leases as a library, but not the directory/);
    });
  }
});

describe('settings for a cluster that runs', () => {
  const settingsOf = (coordination: unknown, more: object = {}) =>
    parseSettings(textOf(coordination, more)).settings;
  const inUse = redisAddress({
    clusterName: 'demo',
    urls: [`redis://:${password}@10.0.0.5`, 'redis://10.0.0.6'],
    sessionTtlMs: 5_000,
  });
  const paths = (settings: ReturnType<typeof settingsOf>, address: CoordinationAddress = inUse) =>
    coordinationInUseProblems(settings, address).map(problem => {
      assert(!problem.expected.includes(password));
      return problem.path;
    });
  const same = redis('redis://10.0.0.5:6379/0', 'redis://10.0.0.6');

  it('may name the same store in other words', () => {
    assert.deepEqual(paths(settingsOf(same)), []);
    assert.deepEqual(paths(settingsOf(redis({ secretRef: 'x' }, 'redis://user@10.0.0.6'))), []);
    assert.deepEqual(paths(settingsOf(same, { sessionTtlMs: 3_000 })), []);
  });

  const changed: [title: string, path: string, settings: ReturnType<typeof settingsOf>][] = [
    ['another kind', '$.coordination.kind', settingsOf({ kind: 'embedded' })],
    ['another Redis', '$.coordination.urls', settingsOf(redis('redis://10.0.0.5', 'redis://10.0.0.7'))],
    ['another order', '$.coordination.urls', settingsOf(redis('redis://10.0.0.6', 'redis://10.0.0.5'))],
    ['one Redis less', '$.coordination.urls', settingsOf(redis('redis://10.0.0.5'))],
    ['another name, which is in every key', '$.clusterName', settingsOf(same, { clusterName: 'other' })],
    ['a longer time to live', '$.sessionTtlMs', settingsOf(same, { sessionTtlMs: 5_001 })],
  ];
  for (const [title, path, settings] of changed) {
    it(`may not name ${title}`, () => assert.deepEqual(paths(settings), [path]));
  }

  it('may not go from the embedded store to Redis', () => {
    const embedded: CoordinationAddress = { kind: 'embedded', socketPath: '/run/x' };
    assert.deepEqual(paths(settingsOf(same), embedded), ['$.coordination.kind']);
    assert.deepEqual(paths(settingsOf(undefined), embedded), []);
  });
});

describe('a store’s address', () => {
  const address = redisAddress({
    clusterName: 'demo',
    urls: [`redis://me:${password}@A`],
    sessionTtlMs: 5_000,
  });

  it('keeps clusters on one Redis apart, in one slot', () => {
    assert.equal(address.prefix, 'holdfast:{demo}:');
  });

  it('is described without secrets', () => {
    assert.deepEqual(describeStore(address), { kind: 'redis', endpoints: ['a:6379/0'] });
  });

  it('is the same store with another password, but not with another time to live, prefix or place', () => {
    assert(isSameStore(address, { ...address, urls: ['redis://a:6379/0'] }));
    assert(!isSameStore(address, { ...address, sessionTtlMs: 6_000 }));
    assert(!isSameStore(address, { ...address, prefix: 'holdfast:{other}:' }));
    assert(!isSameStore(address, { ...address, urls: ['redis://a:6379/1'] }));
    assert(!isSameStore(address, { kind: 'embedded', socketPath: 'a:6379/0' }));
  });

  it('is checked field by field, and no value is repeated', () => {
    assert.deepEqual(redisAddressProblems(address), []);
    const problems = redisAddressProblems(
      { kind: 'etcd', urls: [`redis://:${password}/@b`], prefix: '', sessionTtlMs: 1, secret: password },
      ['coordination'],
    );
    assert.deepEqual(problems.map(({ path }) => path).sort(), [
      '$.coordination.kind',
      '$.coordination.prefix',
      '$.coordination.secret',
      '$.coordination.sessionTtlMs',
      '$.coordination.urls[0]',
    ]);
    assert(!JSON.stringify(problems).includes(password));
    for (const nothing of [null, [], 'redis://x', { ...address, urls: [] }, { ...address, urls: [7] }]) {
      assert.notDeepEqual(redisAddressProblems(nothing), []);
    }
  });
});
