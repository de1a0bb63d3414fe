/** Puts the tables of a run into `README.md`, between the marks of its scenario, formatted as the rest of the project is. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';

const file = join(import.meta.dirname, 'README.md');

/** @throws when the README has no such place */
export async function putIntoReadme(scenario: string, tables: string): Promise<void> {
  const [begin, end] = [`<!-- figures of ${scenario} -->`, `<!-- end of ${scenario} -->`];
  const before = readFileSync(file, 'utf8');
  const [from, to] = [before.indexOf(begin), before.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${file} has no place between ${begin} and ${end}`);
  const after = `${before.slice(0, from + begin.length)}\n\n${tables}\n\n${before.slice(to)}`;
  writeFileSync(file, await format(after, { ...(await resolveConfig(file)), filepath: file }));
}
