import assert from 'node:assert/strict';
import { HoldfastError, type StoredSettings } from '#core';
import { asPlainJson, decideSettings, setPackageVersion, sha256Of, type FileFacts } from '#node-manager';

const file = (text: string, problem: HoldfastError | null = null): FileFacts => ({
  kind: 'present',
  text,
  sha256: sha256Of(text),
  problem,
});
const stored = (text: string, fileText: string | null): StoredSettings => ({
  text,
  updatedAt: '2026-01-01T00:00:00.000Z',
  updatedBy: 'api',
  fileSha256: fileText === null ? null : sha256Of(fileText),
});
const bad = new HoldfastError('HF_SETTINGS_INVALID', 'bad');

describe('which settings hold', () => {
  it('takes a valid file when nothing is stored, and nothing when it is not valid', () => {
    assert.deepEqual(decideSettings(file('f'), null), { use: 'file' });
    assert.deepEqual(decideSettings(file('f', bad), null), { use: 'nothing', refused: bad });
    assert.deepEqual(decideSettings({ kind: 'none' }, null), { use: 'nothing', refused: null });
    assert.deepEqual(decideSettings({ kind: 'missing' }, null), { use: 'nothing', refused: null });
  });

  it('keeps the store when there is no file', () => {
    const kept = { use: 'store', writeFile: false, noteFile: false };
    assert.deepEqual(decideSettings({ kind: 'none' }, stored('s', null)), kept);
    assert.deepEqual(decideSettings({ kind: 'missing' }, stored('s', 's')), kept);
  });

  it('lets the store win over a file that was not edited since both agreed, and writes it back', () => {
    assert.deepEqual(decideSettings(file('old'), stored('new', 'old')), {
      use: 'store',
      writeFile: true,
      noteFile: false,
    });
    assert.deepEqual(decideSettings(file('old', bad), stored('new', 'old')), {
      use: 'store',
      writeFile: true,
      noteFile: false,
    });
  });

  it('lets an edited file win if it is valid, and shows its problem if not', () => {
    assert.deepEqual(decideSettings(file('edited'), stored('s', 's')), { use: 'file' });
    assert.deepEqual(decideSettings(file('edited'), stored('s', null)), { use: 'file' });
    assert.deepEqual(decideSettings(file('edited', bad), stored('s', 's')), { use: 'store', refused: bad });
  });

  it('notes the file when both agree already, as after a crash between two writes', () => {
    assert.deepEqual(decideSettings(file('s'), stored('s', 'old')), {
      use: 'store',
      writeFile: false,
      noteFile: true,
    });
    assert.deepEqual(decideSettings(file('s'), stored('s', 's')), {
      use: 'store',
      writeFile: false,
      noteFile: false,
    });
  });
});

describe('editing the settings text', () => {
  const text = `{
  // the databases
  "componentInstances": [
    { "id": "one", "packageName": "app", "packageVersion": "1.0.0" },
    { "id": "two", "packageName": "db", "messagePublisher": { "packageName": "app" } }, // trailing
  ],
  "nodePackages": [{ "name": "component-host", "version": "1.0.0", "packagePath": "x.zip" }],
}`;

  it('sets the version wherever the package is used, and keeps comments', () => {
    const edited = setPackageVersion(text, 'app', '2.0.0');
    assert.deepEqual(edited.instances, ['one', 'two']);
    assert.match(edited.text, /\/\/ the databases/);
    const plain = JSON.parse(asPlainJson(edited.text)) as {
      componentInstances: { packageVersion?: string; messagePublisher?: object }[];
    };
    assert.equal(plain.componentInstances[0]!.packageVersion, '2.0.0');
    assert.deepEqual(plain.componentInstances[1]!.messagePublisher, {
      packageName: 'app',
      packageVersion: '2.0.0',
    });
  });

  it('lists the new version of a host package, without the file of the old one', () => {
    const edited = setPackageVersion(text, 'component-host', '1.1.0');
    assert.deepEqual((JSON.parse(asPlainJson(edited.text)) as { nodePackages: object[] }).nodePackages, [
      { name: 'component-host', version: '1.1.0' },
    ]);
  });

  it('changes nothing for a package that nobody uses', () => {
    assert.deepEqual(setPackageVersion(text, 'other', '1.0.0'), { text, instances: [] });
  });

  it('shows plain JSON as it was written', () => {
    assert.equal(asPlainJson('{ "a":1 }'), '{ "a":1 }');
  });
});
