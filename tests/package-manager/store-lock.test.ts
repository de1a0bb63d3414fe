import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystem } from '#core';
import { openPackageStore } from '#package-manager';

const fixture = join(import.meta.dirname, '../fixtures/package-manager/holds-store.ts');

describe('package store lock', () => {
  let directory: string;
  const children = new Set<ReturnType<typeof hold>>();
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'holdfast-test-'));
  });
  afterEach(async () => {
    for (const child of children) {
      if (child.exitCode === null && child.signalCode === null) {
        const closed = once(child, 'close');
        child.kill('SIGKILL');
        await closed;
      }
    }
    children.clear();
    await rm(directory, { recursive: true });
  });

  function hold() {
    return spawn(process.execPath, [fixture, directory], { stdio: ['pipe', 'pipe', 'inherit'] });
  }
  /** Starts a holder; resolves to "open" or to the code of the error. */
  async function start(): Promise<string> {
    const child = hold();
    children.add(child);
    const [text] = (await once(child.stdout, 'data')) as [Buffer];
    return text.toString().trim();
  }

  it('keeps a second process out, and is free again when its owner was killed', async () => {
    assert.equal(await start(), 'open');
    const open = () => openPackageStore({ directory, system: createSystem() });
    await assert.rejects(open(), { code: 'HF_ALREADY_RUNNING', message: /in use by process \d+/ });
    const [owner] = children;
    const closed = once(owner!, 'close');
    owner!.kill('SIGKILL');
    await closed;
    await (await open()).close();
    assert.deepEqual(
      (await readdir(directory)).filter(name => name.startsWith('.owner')),
      [],
    );
  });

  it('lets at most one in when several come at the same time', async () => {
    const outcomes = await Promise.all([start(), start(), start(), start()]);
    assert(outcomes.filter(outcome => outcome === 'open').length <= 1, outcomes.join());
    assert(
      outcomes.every(outcome => ['open', 'HF_ALREADY_RUNNING'].includes(outcome)),
      outcomes.join(),
    );
  });
});
