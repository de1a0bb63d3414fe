import assert from 'node:assert/strict';
import { appendFile, mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystem, type Message } from '#core';
import type { Watch } from '../../../components/file-watcher/hints.ts';
import { createService } from '../../../components/file-watcher/service.ts';
import { contentOf, leasesInMemory, makeTestContext, started } from '../../support/component-context.ts';
import { until } from '../../support/wait.ts';

const system = createSystem();
/** Notices that never come: only looking finds anything. */
const deaf: Watch = () => () => {};

describe('file-watcher: watching', () => {
  let directory: string;
  let folder: string;
  const running: { stop(): Promise<void> }[] = [];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'holdfast-watch-'));
    folder = join(directory, 'in');
    await mkdir(folder);
  });
  afterEach(async () => {
    await Promise.all(running.splice(0).map(one => one.stop()));
    await rm(directory, { recursive: true, force: true });
  });

  async function watcher(
    options: {
      settings?: Record<string, unknown>;
      watch?: Watch;
      leases?: ReturnType<typeof leasesInMemory>;
      processId?: string;
      nodeName?: string;
      publish?: (message: Message) => Promise<void>;
    } = {},
  ) {
    const { settings, watch, ...others } = options;
    const context = await makeTestContext({
      component: 'file-watcher',
      dataDirectory: directory,
      settings: { path: 'in', stableMs: 0, rescanMs: 86_400_000, leaseTtlMs: 2_000, ...settings },
      ...others,
    });
    const component = createService(context, system, watch);
    const run = await started(component);
    running.push(run);
    const told = () =>
      context.published.map(message => {
        const { relativePath, previousRelativePath: from } = contentOf(message) as Record<string, string>;
        return `${message.messageType} ${relativePath}${from === undefined ? '' : ` from ${from}`}`;
      });
    const status = async () =>
      (await (await component.fetch!(new Request('http://localhost/'))).json()) as Record<string, unknown>;
    return {
      context,
      told,
      status,
      stop: run.stop,
      owns: () => until('the lease', async () => (await status()).files !== undefined),
      tells: (count: number) =>
        until(`${count} messages`, async () => context.published.length >= count).then(told),
    };
  }

  it('tells what is created, changed, renamed and deleted, with the facts', async () => {
    const { tells, owns, context } = await watcher();
    await owns();
    await writeFile(join(folder, 'a.csv'), 'one');
    assert.deepEqual(await tells(1), ['file.created a.csv']);
    await appendFile(join(folder, 'a.csv'), ', two');
    await tells(2);
    await rename(join(folder, 'a.csv'), join(folder, 'b.csv'));
    await tells(3);
    await rm(join(folder, 'b.csv'));
    assert.deepEqual(await tells(4), [
      'file.created a.csv',
      'file.changed a.csv',
      'file.renamed b.csv from a.csv',
      'file.deleted b.csv',
    ]);
    const changed = context.published[1]!;
    assert.equal(contentOf(changed).sizeBytes, 8);
    assert.equal(contentOf(changed).path, join(folder, 'a.csv'));
    assert.equal(changed.properties.fence, '1');
    assert.equal(new Set(context.published.map(message => message.messageId)).size, 4);
  });

  it('tells nothing twice after a restart, and what happened while nobody watched', async () => {
    for (const name of ['kept', 'edited', 'moved', 'removed']) await writeFile(join(folder, name), name);
    const first = await watcher();
    await first.tells(4);
    await first.stop();
    await appendFile(join(folder, 'edited'), '!');
    await rename(join(folder, 'moved'), join(folder, 'moved-away'));
    await rm(join(folder, 'removed'));
    await writeFile(join(folder, 'new'), '');
    const second = await watcher();
    assert.deepEqual(await second.tells(4), [
      'file.changed edited',
      'file.renamed moved-away from moved',
      'file.created new',
      'file.deleted removed',
    ]);
    await second.stop();
    const third = await watcher();
    await third.owns();
    await third.stop();
    assert.deepEqual(third.told(), []);
  });

  it('looks below, leaves out what the filter does not name and links, and follows folders that are replaced', async () => {
    await mkdir(join(folder, 'x/y'), { recursive: true });
    await mkdir(join(folder, 'skipped'));
    await writeFile(join(folder, 'x/y/deep.csv'), '');
    await writeFile(join(folder, 'x/y/deep.txt'), '');
    await writeFile(join(folder, 'skipped/a.csv'), '');
    await symlink(folder, join(folder, 'loop'));
    const settings = { recursive: true, filter: ['**/*.csv'], ignore: 'skipped' };
    const { tells, owns } = await watcher({ settings });
    await owns();
    assert.deepEqual(await tells(1), ['file.created x/y/deep.csv']);
    await rm(join(folder, 'x'), { recursive: true });
    await tells(2);
    await mkdir(join(folder, 'x/y'), { recursive: true });
    await writeFile(join(folder, 'x/y/again.csv'), '');
    assert.deepEqual((await tells(3)).slice(1), ['file.deleted x/y/deep.csv', 'file.created x/y/again.csv']);
    await writeFile(join(folder, 'x/y/more.csv'), '');
    assert.equal((await tells(4))[3], 'file.created x/y/more.csv');
  });

  it('one copy watches; another takes over, with a higher fence, and tells nothing again', async () => {
    await writeFile(join(folder, 'a'), '');
    const leases = leasesInMemory();
    const first = await watcher({ leases, processId: 'host-1' });
    await first.tells(1);
    const second = await watcher({ leases, processId: 'host-2' });
    assert.equal((await second.status()).role, 'standby');
    await first.stop();
    await second.owns();
    await writeFile(join(folder, 'b'), '');
    assert.deepEqual(await second.tells(1), ['file.created b']);
    assert.equal(second.context.published[0]!.properties.fence, '2');
  });

  it('one copy for each node, where each has folders of its own', async () => {
    await writeFile(join(folder, 'a'), '');
    const leases = leasesInMemory();
    const settings = { ownerPer: 'node' };
    const copies = [
      await watcher({ leases, settings, processId: 'host-1', nodeName: 'node-1' }),
      await watcher({ leases, settings, processId: 'host-2', nodeName: 'node-2' }),
    ];
    for (const { tells } of copies) assert.deepEqual(await tells(1), ['file.created a']);
  });

  it('files that are there at the very first look can be left untold; their changes are told', async () => {
    await writeFile(join(folder, 'old'), '');
    const { owns, tells, stop } = await watcher({ settings: { existingFiles: 'ignore' } });
    await owns();
    await appendFile(join(folder, 'old'), 'x');
    assert.deepEqual(await tells(1), ['file.changed old']);
    await stop();
  });

  it('finds by looking what no notice told, and says so when folders cannot be watched', async () => {
    const full: Watch = () => {
      throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
    };
    for (const watch of [deaf, full]) {
      const { owns, tells, context, stop } = await watcher({ watch, settings: { rescanMs: 100 } });
      await owns();
      const name = watch === deaf ? 'unheard' : 'unwatched';
      await writeFile(join(folder, name), '');
      assert.deepEqual((await tells(1)).at(-1), `file.created ${name}`);
      if (watch === full) assert.match(context.health.message ?? '', /fs\.inotify\.max_user_watches/);
      assert.equal(context.health.ready, watch === deaf);
      await stop();
    }
  });

  it('a folder that vanishes is reported and nothing is told of its files until it is back', async () => {
    await writeFile(join(folder, 'kept'), '');
    await writeFile(join(folder, 'lost'), '');
    const { tells, context } = await watcher();
    await tells(2);
    await rename(folder, join(directory, 'away'));
    await until('the report', async () => !context.health.ready);
    assert.match(context.health.message ?? '', /is not there/);
    assert.equal(context.published.length, 2);
    await rm(join(directory, 'away/lost'));
    await rename(join(directory, 'away'), folder);
    assert.deepEqual((await tells(3)).slice(2), ['file.deleted lost']);
    await until('good health', async () => context.health.ready);
    await writeFile(join(folder, 'after'), '');
    assert.equal((await tells(4))[3], 'file.created after');
  });

  it('what cannot be published waits, in order and under the same ids', async () => {
    const tried: string[] = [];
    let isBroken = true;
    const publish = async (message: Message) => {
      tried.push(message.messageId);
      if (isBroken) throw new Error('no broker');
    };
    await writeFile(join(folder, 'a'), '');
    await writeFile(join(folder, 'b'), '');
    const { context, tells } = await watcher({ publish });
    await until('two attempts', async () => tried.length >= 2);
    assert.match(context.health.message ?? '', /no broker/);
    assert.equal(new Set(tried).size, 1);
    isBroken = false;
    assert.deepEqual(await tells(2), ['file.created a', 'file.created b']);
    assert.equal(context.published[0]!.messageId, tried[0]);
    await until('good health', async () => context.health.ready);
  });

  it('more files than filesMax is reported, and mended by taking some away', async () => {
    for (const name of ['a', 'b', 'c']) await writeFile(join(folder, name), '');
    const { context, tells } = await watcher({ settings: { filesMax: 2 } });
    await until('the report', async () => !context.health.ready);
    assert.match(context.health.message ?? '', /raise filesMax/);
    await rm(join(folder, 'b'));
    assert.deepEqual(await tells(2), ['file.created a', 'file.created c']);
  });
});
