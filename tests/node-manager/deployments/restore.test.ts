import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { parseSettings } from '#core';
import { asPlainJson, desiredInstances, restoredSettings, type Target } from '#node-manager';
import { known } from '../made-up-cluster.ts';

const catalog = ['1.0.0', '1.1.0'].flatMap(version =>
  ['component-host', 'app', 'router', 'publisher'].map(name => known(name, version)),
);

const head = `{
  // Ours.
  "clusterName": "test",
  "nodeServers": [],`;

/** What the instance is by this text. */
function targetOf(text: string, id: string, restart: string | null = null): Target {
  const { settings } = parseSettings(text, new Set(['app', 'router', 'publisher']));
  const found = desiredInstances({ settings, catalog, restarts: restart === null ? {} : { [id]: restart } });
  const { revision, revisionId } = found.find(instance => instance.settings.id === id)!;
  const entry = entries(text).find(item => item.id === id) ?? null;
  return { revision: revision!, revisionId: revisionId!, entry };
}

function entries(text: string): { id: string; [key: string]: unknown }[] {
  const { componentInstances = [] } = JSON.parse(asPlainJson(text)) as {
    componentInstances?: { id: string }[];
  };
  return componentInstances;
}

function assertRestored(before: string, after: string, id = 'one'): string {
  const [good, target] = [targetOf(before, id), targetOf(after, id)];
  assert.notEqual(good.revisionId, target.revisionId);
  const restored = restoredSettings(after, good, target, 'component-host');
  assert.equal(targetOf(restored, id).revisionId, good.revisionId, restored);
  const again = restoredSettings(restored, good, target, 'component-host');
  assert.equal(again, restored, 'twice changes nothing');
  assert.match(restored, /\/\/ Ours\./);
  return restored;
}

const withInstance = (entry: string, more = '') => `${head}${more}
  "componentInstances": [
    { "id": "other", "packageName": "app", "packageVersion": "1.1.0" },
    // The first.
    ${entry}
  ]
}
`;

describe('settings that a rollback sets back', () => {
  it('pins the version of this instance, and leaves the others and all comments alone', () => {
    const restored = assertRestored(
      withInstance('{ "id": "one", "packageName": "app", "packageVersion": "1.0.0", "instances": 2 }'),
      withInstance('{ "id": "one", "packageName": "app", "packageVersion": "1.1.0", "instances": 5 }'),
    );
    assert.equal(
      restored,
      withInstance('{ "id": "one", "packageName": "app", "packageVersion": "1.0.0", "instances": 5 }'),
    );
  });

  it('pins an instance that took the newest version', () => {
    const text = withInstance('{ "id": "one", "packageName": "app" }');
    const target = targetOf(text, 'one');
    const good = targetOf(
      withInstance('{ "id": "one", "packageName": "app", "packageVersion": "1.0.0" }'),
      'one',
    );
    const restored = restoredSettings(text, good, target, 'component-host');
    assert.equal(targetOf(restored, 'one').revisionId, good.revisionId);
    assert.equal(entries(restored)[1]!.packageVersion, '1.0.0');
  });

  it('declares an implied router to pin it', () => {
    const text = `${head} "routes": [] }`;
    const target = targetOf(text, 'router');
    assert.equal(target.revision.packageVersion, '1.1.0');
    const revision = { ...target.revision, packageVersion: '1.0.0' };
    const restored = restoredSettings(text, { ...target, revision }, target, 'component-host');
    assert.deepEqual(entries(restored), [
      { id: 'router', packageName: 'router', instances: 1, packageVersion: '1.0.0' },
    ]);
  });

  it('brings back what the entry said, key by key', () => {
    const before = `{ "id": "one", "packageName": "app",
      "settings": {
        "kept": 1, // as it was
        "changed": { "a": 1 }, "removed": true },
      "env": { "A": "1" }, "concurrency": 3 }`;
    const after = `{ "id": "one", "packageName": "app",
      "settings": {
        "kept": 1, // as it was
        "changed": { "a": 2 }, "added": [1] },
      "idleMs": 1000, "concurrency": 4, "resources": { "memoryMb": 64, "weight": 7 } }`;
    const restored = assertRestored(withInstance(before), withInstance(after));
    assert.match(restored, /\/\/ as it was/);
    assert.doesNotMatch(restored, /added|idleMs/);
  });

  it('sets the host package back for all', () => {
    const nodePackages = (version: string) =>
      `"nodePackages": [{ "name": "component-host", "version": "${version}", "packagePath": "host-${version}.zip" }],`;
    const entry = '{ "id": "one", "packageName": "app", "packageVersion": "1.0.0" }';
    const restored = assertRestored(
      withInstance(entry, nodePackages('1.0.0')),
      withInstance(entry, nodePackages('1.1.0')),
    );
    assert.doesNotMatch(restored, /packagePath/, 'the file is of the version that is not wanted any more');
    const target = targetOf(withInstance(entry), 'one');
    const good = { ...target, revision: { ...target.revision, hostVersion: '1.0.0' } };
    const pinned = restoredSettings(withInstance(entry), good, target, 'component-host');
    assert.equal(targetOf(pinned, 'one').revision.hostVersion, '1.0.0');
  });

  it('pins a publisher', () => {
    const entry = (version: string) =>
      `{ "id": "one", "packageName": "app", "messagePublisher": { "packageName": "publisher", "settings": { "a": 1 }${version} } }`;
    const text = withInstance(entry(''));
    const good = targetOf(withInstance(entry(', "packageVersion": "1.0.0"')), 'one');
    const restored = restoredSettings(
      text,
      { ...good, entry: entries(text)[1]! },
      targetOf(text, 'one'),
      'component-host',
    );
    assert.equal(targetOf(restored, 'one').revisionId, good.revisionId);
  });
});
