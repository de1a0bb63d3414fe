/** Writes the JSON Schemas that are shipped for editors; `--check` fails when a file is out of date instead. */
import { readFileSync, writeFileSync } from 'node:fs';
import { format } from 'prettier';
import { ManifestSchema } from './manifest/schema.ts';
import { ClusterSettingsSchema } from './settings/schema.ts';

const targets = [
  {
    path: new URL('./settings/cluster-settings.schema.json', import.meta.url),
    schema: ClusterSettingsSchema,
  },
  { path: new URL('./manifest/manifest.schema.json', import.meta.url), schema: ManifestSchema },
];

for (const { path, schema } of targets) {
  const document = { $schema: 'http://json-schema.org/draft-07/schema#', ...schema };
  const text = await format(JSON.stringify(document), { parser: 'json', printWidth: 110 });
  if (!process.argv.includes('--check')) {
    writeFileSync(path, text);
  } else if (readFileSync(path, 'utf8') !== text) {
    process.exitCode = 1;
    process.stderr.write(`${path.pathname} is out of date: npm run generate:schemas\n`);
  }
}
