/** The program in docs/leases.md: several processes of it start at once, and one migrates. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { hasRedis, startRedis } from '../support/redis-server.ts';
import { skipLoudly } from '../support/skip-loudly.ts';

const root = join(import.meta.dirname, '../..');
const run = promisify(execFile);

describe('docs/leases.md: bootstrap by one replica', function () {
  this.timeout(60_000);
  let directory: string;
  let program: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hf-bootstrap-'));
    program = join(directory, 'bootstrap.ts');
    await writeFile(join(directory, 'package.json'), '{"type":"module"}');
    const page = await readFile(join(root, 'docs/leases.md'), 'utf8');
    const [, code] = /^```ts\n\/\/ bootstrap\.ts\n([^]*?)^```$/m.exec(page)!;
    // Stands for the package being installed.
    await writeFile(program, code!.replace("'holdfast/leases'", `'${join(root, 'library/leases.ts')}'`));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  async function bootstrap(environment: Record<string, string>): Promise<void> {
    const env = { ...process.env, DATA: directory, ...environment };
    const outputs = await Promise.all(
      Array.from({ length: 5 }, () => run(process.execPath, [program], { env, timeout: 50_000 })),
    );
    const said = outputs.map(({ stdout }) => stdout.trim()).sort();
    assert.deepEqual(said, [
      'the schema migrated; now serving',
      ...Array.from({ length: 4 }, () => 'the schema was up to date; now serving'),
    ]);
    const database = new DatabaseSync(join(directory, 'app.sqlite'), { readOnly: true });
    assert.deepEqual(
      database
        .prepare('SELECT name FROM customers')
        .all()
        .map(row => row['name']),
      ['the first one'],
    );
    database.close();
  }

  it('runs the migration once, on a SQLite file', () => bootstrap({ REDIS_URLS: '' }));

  it('runs the migration once, on three Redis masters', async function () {
    if (!hasRedis()) skipLoudly(this, 'redis-server is not installed');
    const servers = await Promise.all([startRedis(), startRedis(), startRedis()]);
    try {
      await bootstrap({ REDIS_URLS: servers.map(server => server.url).join(',') });
    } finally {
      await Promise.all(servers.map(server => server.stop()));
    }
  });
});
