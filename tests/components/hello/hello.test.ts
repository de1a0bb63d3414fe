import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { configure, parseManifest } from '#core';
import create from '../../../components/hello/main.ts';
import { makeContext } from '../sqlite-service/harness.ts';

describe('hello', () => {
  it('greets with its setting, and says which process on which node answered', async () => {
    const manifest = parseManifest(
      await readFile(join(import.meta.dirname, '../../../components/hello/manifest.json'), 'utf8'),
    );
    const settings = configure(manifest, { greeting: 'Moin' });
    const component = create(makeContext('/nowhere', settings, 'host-7'));
    await component.start(new AbortController().signal);
    const response = await component.fetch!(new Request('http://localhost/hello'));
    assert.deepEqual(await response.json(), { greeting: 'Moin', processId: 'host-7', node: 'node-1' });
    await component.stop(new AbortController().signal);
    assert.throws(() => configure(manifest, { greting: 'x' }), { code: 'HF_SETTINGS_INVALID' });
  });
});
