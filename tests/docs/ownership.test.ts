/** docs/ownership.md maps each of its sentences to tests: here the map is compared with the territory. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const root = new URL('../../', import.meta.url);

/** Rows of the last table: a sentence and the tests named for it. */
function readRows(text: string): { sentence: string; tests: { file: string; title: string }[] }[] {
  const table = text.slice(text.indexOf('## Every sentence and its test'));
  return [...table.matchAll(/^\| (.+?) +\| (`.+`) +\|$/gm)].map(([, sentence, tests]) => ({
    sentence: sentence!,
    tests: [...tests!.matchAll(/`(.+?) › (.+?)`/g)].map(([, file, title]) => ({
      file: file!,
      title: title!,
    })),
  }));
}

describe('docs/ownership.md', () => {
  it('names only tests that there are, at least one for each sentence', async () => {
    const rows = readRows(await readFile(fileURLToPath(new URL('docs/ownership.md', root)), 'utf8'));
    assert(rows.length >= 30, `the table is read: ${rows.length} rows`);
    const missing: string[] = [];
    for (const { sentence, tests } of rows) {
      if (tests.length === 0) missing.push(`no test for: ${sentence}`);
      for (const { file, title } of tests) {
        const source = await readFile(new URL(file, root), 'utf8').catch(() => '');
        if (!source.includes(title)) missing.push(`${file} has no test with the title "${title}"`);
      }
    }
    assert.deepEqual(missing, []);
  });
});
