import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Message } from '#core';
import { until } from '../../support/wait.ts';

const host = join(import.meta.dirname, '../../fixtures/components/scheduler-host.ts');
const rounds = 4;
const perRound = 20;

describe('scheduler: killed at any moment', () => {
  it('publishes every tick, and whoever drops repeated ids has each once', async function () {
    this.timeout(120_000);
    const directory = await mkdtemp(join(tmpdir(), 'holdfast-scheduler-'));
    const log = join(directory, 'messages.jsonl');
    await writeFile(log, '');
    const ticks = async () =>
      (await readFile(log, 'utf8'))
        .split('\n')
        .filter(line => line.endsWith('}'))
        .map(line => JSON.parse(line) as Message)
        .map(message => Date.parse(message.properties.scheduledAt!));
    try {
      for (let round = 1; round <= rounds; round++) {
        const child = spawn(process.execPath, [host, directory, log, String(round)], {
          stdio: ['ignore', 'ignore', 'inherit'],
        });
        const exited = once(child, 'exit');
        try {
          await until('some firings', async () => (await ticks()).length >= perRound * round);
        } finally {
          child.kill('SIGKILL');
          await exited;
        }
      }
      const found = [...new Set(await ticks())];
      found.forEach((tick, index) => assert.equal(tick, found[0]! + 1000 * index));
      assert((await ticks()).length - found.length < rounds, 'at most one is repeated for each kill');
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});
