import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Message } from '#core';
import { contentOf } from '../../support/component-context.ts';
import { until } from '../../support/wait.ts';

const host = join(import.meta.dirname, '../../fixtures/components/file-watcher-host.ts');
const rounds = 4;
const filesPerRound = 40;

describe('file-watcher: killed at any moment', () => {
  it('tells every change, and whoever drops repeated ids has the folder as it is', async function () {
    this.timeout(120_000);
    const directory = await mkdtemp(join(tmpdir(), 'holdfast-watch-'));
    const folder = join(directory, 'in');
    const log = join(directory, 'messages.jsonl');
    await mkdir(folder);
    await writeFile(log, '');
    const messages = async () =>
      (await readFile(log, 'utf8'))
        .split('\n')
        .filter(line => line.endsWith('}'))
        .map(line => JSON.parse(line) as Message);
    try {
      for (let round = 1; ; round++) {
        const child = spawn(process.execPath, [host, directory, log, String(round)], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        const exited = once(child, 'exit');
        try {
          await once(child.stdout, 'data');
          if (round > rounds) {
            await until('the whole folder', async () =>
              isSame(fold(await messages()), await sizesIn(folder)),
            );
            break;
          }
          const before = (await messages()).length;
          for (let index = 0; index < filesPerRound; index++) {
            await writeFile(join(folder, `${round}-${index}`), 'x'.repeat(index));
          }
          for (let index = 0; index < filesPerRound; index += 4) {
            await appendFile(join(folder, `${round}-${index}`), 'more');
            await rename(join(folder, `${round}-${index + 1}`), join(folder, `${round}-${index + 1}-moved`));
            await rm(join(folder, `${round}-${index + 2}`));
          }
          // In the middle: some are told, many are not.
          await until('some messages', async () => (await messages()).length > before + round * 5);
        } finally {
          child.kill('SIGKILL');
          await exited;
        }
      }
      const all = await messages();
      const contents = new Map(all.map(message => [message.messageId, message.content]));
      for (const { messageId, content } of all) assert.equal(content, contents.get(messageId));
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});

/** What somebody knows who believes the messages, each id once. */
function fold(messages: Message[]): Map<string, number> {
  const sizes = new Map<string, number>();
  const seen = new Set<string>();
  for (const message of messages) {
    if (seen.has(message.messageId)) continue;
    seen.add(message.messageId);
    const { event, relativePath, previousRelativePath, sizeBytes } = contentOf(message) as {
      event: string;
      relativePath: string;
      previousRelativePath?: string;
      sizeBytes: number;
    };
    const isKnown = sizes.has(relativePath);
    assert.equal(event === 'created' || event === 'renamed', !isKnown, `${event} ${relativePath}`);
    if (event === 'renamed') assert(sizes.delete(previousRelativePath!));
    if (event === 'deleted') sizes.delete(relativePath);
    else sizes.set(relativePath, sizeBytes);
  }
  return sizes;
}

async function sizesIn(folder: string): Promise<Map<string, number>> {
  const names = await readdir(folder);
  return new Map(
    await Promise.all(
      names.map(async name => [name, (await stat(join(folder, name))).size] satisfies [string, number]),
    ),
  );
}

function isSame(one: Map<string, number>, other: Map<string, number>): boolean {
  return one.size === other.size && [...one].every(([path, size]) => other.get(path) === size);
}
