/** A component host is bundled into one file: the Redis client and its scripts must be in it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { bundle, stopBundler } from '../../cli/pack/bundle.ts';
import { hasRedis, startRedis, type RedisServer } from '../support/redis-server.ts';
import { skipLoudly } from '../support/skip-loudly.ts';
import { RedisHarness } from './redis-harness.ts';

const run = promisify(execFile);
const project = fileURLToPath(new URL('../..', import.meta.url));
const entry = join(project, 'tests/fixtures/ownership/redis-claimer.ts');

describe('directory on Redis, as it is shipped', function () {
  this.timeout(30_000);
  let server: RedisServer;
  let harness: RedisHarness;
  let folder: string;

  before(async function () {
    if (!hasRedis()) skipLoudly(this, 'no redis-server is installed');
    server = await startRedis();
    folder = await mkdtemp(join(tmpdir(), 'hf-bundle-'));
  });
  beforeEach(async () => {
    harness = new RedisHarness(server, 5_000);
    await harness.begin();
  });
  afterEach(() => harness?.stop());
  after(async () => {
    await stopBundler();
    await server?.stop();
    if (folder) await rm(folder, { recursive: true, force: true });
  });

  const claims = async (program: string) => {
    const { stdout } = await run(process.execPath, [program, server.url, harness.address.prefix]);
    assert.match(stdout, /^[0-9]{19}$/);
  };

  it('claims when Node runs its sources', () => claims(entry));

  it('claims out of one bundled file', async () => {
    const { modules } = await bundle({ entries: { 'index.js': entry }, directory: project });
    const program = join(folder, 'bundled.mjs');
    await writeFile(program, modules[0]!.code);
    await claims(program);
  });

  it('claims out of a bundle in parts, as hosts have it', async () => {
    const { modules } = await bundle({ entries: { 'index.js': entry }, directory: project, split: true });
    const place = join(folder, 'parts');
    await mkdir(place);
    await writeFile(join(place, 'package.json'), '{"type":"module"}');
    for (const { name, code } of modules) await writeFile(join(place, name), code);
    await claims(join(place, 'index.js'));
  });
});
