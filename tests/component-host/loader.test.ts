import assert from 'node:assert/strict';
import { loadComponent, loadPublisher } from '#component-host';
import type { HoldfastError, InstalledPackage, Settings } from '#core';
import { fixture } from './workspace.ts';

describe('component-host loader', () => {
  it('loads a component with its settings filled in and frozen', async () => {
    const loaded = await loadComponent(fixture('journal-component'), { failAt: 'nowhere' });
    assert.equal(typeof loaded.create, 'function');
    assert.deepEqual(loaded.settings, { greeting: 'hello', failAt: 'nowhere' });
    assert.ok(Object.isFrozen(loaded.settings));
  });

  it('refuses settings that the package does not know, with their path', async () => {
    await refuses(fixture('journal-component'), { failAt: 3, colour: 'red' }, 'HF_SETTINGS_INVALID', [
      '$.failAt is 3, expected string',
      '$.colour is "red", expected no such key',
    ]);
  });

  it('refuses a package of another kind', async () => {
    await refuses(fixture('journal-publisher'), {}, 'HF_PACKAGE_INVALID', [
      'kind publisher; expected kind component',
    ]);
    await assert.rejects(loadPublisher(fixture('echo'), {}), { code: 'HF_PACKAGE_INVALID' });
  });

  it('says which exports there are when the named one is missing', async () => {
    await refuses(fixture('lacks-export'), {}, 'HF_START_FAILED', [
      'has no export "makeComponent" (it exports: default)',
    ]);
  });

  it('passes on what a module throws while it is loaded', async () => {
    await refuses(fixture('throws-on-import'), {}, 'HF_START_FAILED', [
      'cannot be loaded: thrown at the top level',
    ]);
  });

  it('refuses a folder without a manifest, or with that of another version', async () => {
    await refuses({ ...fixture('echo'), directory: '/nowhere' }, {}, 'HF_START_FAILED', [
      'cannot read /nowhere/manifest.json',
    ]);
    await refuses({ ...fixture('echo'), packageVersion: '2.0.0' }, {}, 'HF_PACKAGE_CORRUPT', [
      'expected echo 2.0.0',
    ]);
  });
});

async function refuses(
  installed: InstalledPackage,
  settings: Settings,
  code: string,
  texts: string[],
): Promise<void> {
  await assert.rejects(loadComponent(installed, settings), (error: HoldfastError) => {
    assert.equal(error.code, code);
    for (const text of texts) assert.ok(error.message.includes(text), `"${error.message}" lacks "${text}"`);
    return true;
  });
}
