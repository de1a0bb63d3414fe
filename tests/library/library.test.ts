/** Packs the package as npm would, unpacks it below a node_modules folder, and uses it as a program that knows nothing else of it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const projectRoot = join(import.meta.dirname, '../..');

const plain = `
import { createSystem, HoldfastError, openEmbeddedLeases } from 'holdfast/leases';
import { createSqliteFence } from 'holdfast/fences';
import { DatabaseSync } from 'node:sqlite';

const leases = await openEmbeddedLeases({ file: 'leases.sqlite', system: createSystem() });
const outcome = await leases.hold('bootstrap', { holder: 'one', ttlMs: 5_000 }, async (signal, { fence }) => {
  const database = new DatabaseSync('data.sqlite');
  const guard = createSqliteFence(database);
  guard.install(fence, () => database.exec('CREATE TABLE greeting (text)'));
  guard.write(fence, () => database.exec("INSERT INTO greeting VALUES ('hello')"));
  const { text } = database.prepare('SELECT text FROM greeting').get();
  let refused;
  try {
    createSqliteFence(database).install(fence);
  } catch (error) {
    refused = error instanceof HoldfastError && error.code;
  }
  database.close();
  return { text, refused, aborted: signal.aborted };
});
await leases.close();
console.log(JSON.stringify({ ...outcome, fence: String(outcome.fence) }));
`;

const typed = `
import { createSystem, openEtcdLeases, openPostgresLeases, openRedisLeases, type LeaseService } from 'holdfast/leases';
import { createPostgresFence, createRedisFence } from 'holdfast/fences';
import { Redis } from 'ioredis';
import pg from 'pg';

const system = createSystem();
const pool = new pg.Pool();
const stores: LeaseService[] = [
  await openPostgresLeases({ pool, system }),
  await openEtcdLeases({ endpoints: ['http://127.0.0.1:2379'], system }),
  await openRedisLeases({ clients: [new Redis()], system }),
];
const outcome = await stores[0]!.hold('name', { holder: 'one', ttlMs: 5_000 }, async signal => signal.aborted);
if (outcome.acquired) {
  const stopped: boolean = outcome.value;
  const client = await pool.connect();
  const fence = createPostgresFence({ resource: 'r' });
  await fence.write(client, outcome.fence, async () => stopped);
  await createRedisFence(new Redis(), { key: 'f' }).write(outcome.fence, [['SET', 'a', 1]]);
}
`;

describe('the package as a library', function () {
  this.timeout(120_000);
  let directory: string;
  const inside = (...parts: string[]) => join(directory, ...parts);

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hf-library-'));
    await run('npm', ['pack', '--pack-destination', directory], { cwd: projectRoot });
    const archive = (await readdir(directory)).find(name => name.endsWith('.tgz'));
    assert(archive, 'npm pack made no archive');
    await mkdir(inside('node_modules/holdfast'), { recursive: true });
    await mkdir(inside('node_modules/@types'));
    await run('tar', [
      '-xzf',
      inside(archive),
      '--strip-components=1',
      '-C',
      inside('node_modules/holdfast'),
    ]);
    for (const name of ['pg', 'ioredis', 'redlock', '@types/node', '@types/pg']) {
      await symlink(join(projectRoot, 'node_modules', name), inside('node_modules', name));
    }
    await writeFile(inside('package.json'), '{"type":"module"}');
  });
  after(() => rm(directory, { recursive: true, force: true }));

  it('runs leases and fences from plain JavaScript', async () => {
    await writeFile(inside('plain.js'), plain);
    const { stdout } = await run(process.execPath, ['plain.js'], { cwd: directory });
    const { fence, ...outcome } = JSON.parse(stdout) as { fence: string };
    assert.match(fence, /^[1-9][0-9]*$/);
    assert.deepEqual(outcome, {
      acquired: true,
      heldToTheEnd: true,
      value: { text: 'hello', refused: 'HF_FENCED', aborted: false },
    });
  });

  async function check(source: string): Promise<string> {
    await writeFile(inside('typed.ts'), source);
    const options = { strict: true, noEmit: true, module: 'nodenext', target: 'es2024', types: ['node'] };
    await writeFile(
      inside('tsconfig.json'),
      JSON.stringify({ compilerOptions: options, files: ['typed.ts'] }),
    );
    const tsc = join(projectRoot, 'node_modules/.bin/tsc');
    const { stdout } = await run(tsc, ['-p', directory], { cwd: directory }).catch(
      (error: { stdout: string }) => error,
    );
    return stdout;
  }

  it('has types that stand alone, checked together with every declaration that they need', async () => {
    assert.equal(await check(typed), '');
  });

  it('has types that find mistakes', async () => {
    assert.match(await check(typed.replace('ttlMs: 5_000', "ttlMs: '5s'")), /typed\.ts.* TS2322: .*'string'/);
    assert.match(await check(typed.replace("{ resource: 'r' }", '{}')), /typed\.ts.* TS2741: .*resource/);
  });

  it('opens nothing else of itself, and holds nothing but what these need', async () => {
    const files = await readdir(inside('node_modules/holdfast'), { recursive: true });
    assert.deepEqual(
      files.filter(name => name.endsWith('.ts') && !name.endsWith('.d.ts')),
      [],
    );
    const { exports } = JSON.parse(await readFile(inside('node_modules/holdfast/package.json'), 'utf8')) as {
      exports: object;
    };
    assert.deepEqual(Object.keys(exports), ['./leases', './fences', './package.json']);
  });
});
