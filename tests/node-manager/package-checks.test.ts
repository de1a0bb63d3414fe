import assert from 'node:assert/strict';
import { parseManifest, parseSettings, type ClusterSettingsDocument } from '#core';
import { packageProblems } from '#node-manager';

type Instance = NonNullable<ClusterSettingsDocument['componentInstances']>[number];

const manifests = [
  parseManifest(
    JSON.stringify({
      packageName: 'tally',
      packageVersion: '1.0.0',
      kind: 'component',
      main: 'index.js',
      configurationSchema: {
        type: 'object',
        additionalProperties: false,
        required: ['port'],
        properties: { port: { type: 'integer' }, limit: { type: 'integer' }, login: { type: 'string' } },
      },
    }),
  ),
  parseManifest(
    JSON.stringify({ packageName: 'teller', packageVersion: '1.0.0', kind: 'publisher', main: 'index.js' }),
  ),
];
const installed = manifests.map(manifest => ({ ...manifest, sha256: manifest.packageName, manifest }));
const catalog = installed.map(({ packageName, packageVersion, kind, sha256 }) => ({
  packageName,
  packageVersion,
  kind,
  sha256,
  problem: null,
}));

function check(instance: Partial<Instance>, read = installed) {
  const document: ClusterSettingsDocument = {
    clusterName: 'demo',
    nodeServers: [],
    componentInstances: [{ id: 'a', packageName: 'tally', ...instance }],
  };
  const { settings } = parseSettings(JSON.stringify(document));
  return packageProblems(settings, catalog, read).map(({ path, expected }) => `${path}: ${expected}`);
}

describe('settings in the eyes of the packages', () => {
  it('has nothing to say when they fit', () => {
    assert.deepEqual(check({ settings: { port: 1, limit: 2 } }), []);
    assert.deepEqual(check({ ports: [7001, 7002] }), [], 'the port that a copy gets counts');
  });

  it('names path and expectation of what does not fit', () => {
    assert.deepEqual(check({ settings: { port: 1, limit: 'many' } }), [
      '$.componentInstances[0].settings.limit: integer',
    ]);
    assert.deepEqual(check({}), ['$.componentInstances[0].settings.port: a value (it is missing)']);
  });

  it('leaves values that stand for a secret to the nodes', () => {
    const login = { secretRef: 'login' };
    assert.deepEqual(check({ settings: { port: 1, login } }), []);
    assert.deepEqual(check({ settings: { port: 'x', login } }), [
      '$.componentInstances[0].settings.port: integer',
    ]);
  });

  it('tells components and publishers apart', () => {
    assert.deepEqual(check({ packageName: 'teller' }), [
      '$.componentInstances[0].packageName: a package of kind component, not publisher',
    ]);
    assert.deepEqual(check({ settings: { port: 1 }, messagePublisher: { packageName: 'tally' } }), [
      '$.componentInstances[0].messagePublisher.packageName: a package of kind publisher, not component',
    ]);
  });

  it('waits with its judgement until a node has read the package', () => {
    assert.deepEqual(check({ settings: { port: 'x' } }, []), []);
  });
});
