/** What is the local publisher's own: its file is its broker. The conformance is in `local-publisher.test.ts`. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { MessagePublisher, Settings } from '#core';
import create from '../../../publishers/local/main.ts';
import { until } from '../../support/wait.ts';
import { ids, message, messages, receive } from '../support/site.ts';

describe('the file of the local publisher', function () {
  this.timeout(60_000);
  let directory: string;
  const open: MessagePublisher[] = [];
  const silent = (): void => {};

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hf-local-'));
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map(publisher => publisher.stop()));
    await rm(directory, { recursive: true, force: true });
  });

  async function start(settings: Settings = {}): Promise<MessagePublisher> {
    const publisher = create({
      name: 'local-publisher',
      instanceId: 'instance',
      processId: `host-${open.length}`,
      nodeName: 'node-1',
      settings: {
        directory: join(directory, 'shared'),
        messagesMax: 100,
        fileBytesMax: 1_048_576,
        deadLettersMax: 2,
        sync: false,
        ...settings,
      },
      log: { debug: silent, info: silent, warn: silent, error: silent },
      dataDirectory: directory,
    });
    open.push(publisher);
    await publisher.start();
    return publisher;
  }

  const rows = (table: string): number => {
    const database = new DatabaseSync(join(directory, 'shared/messages.sqlite'), { readOnly: true });
    const { count } = database.prepare(`SELECT count(*) AS count FROM ${table}`).get() as { count: number };
    database.close();
    return count;
  };

  it('keeps nothing that everybody has handled, nor what nobody has asked for', async () => {
    const publisher = await start();
    await publisher.publish(message('nobody', 1));
    const [one, two] = [
      await receive(publisher, 'all', { group: 'a' }),
      await receive(publisher, 'all', { group: 'b' }),
    ];
    for (const each of messages('all', 1, 20)) await publisher.publish(each);
    await Promise.all([one.count(20), two.count(20)]);
    await until('the rows are gone', async () => rows('message') === 0 && rows('delivery') === 0);
  });

  it('takes no message when a group is too far behind, and says which; the others are not touched', async () => {
    const publisher = await start({ messagesMax: 3 });
    await (await receive(publisher, 'slow', { group: 'sleeper' })).close();
    for (const each of messages('slow', 1, 3)) await publisher.publish(each);
    await assert.rejects(publisher.publish(message('slow', 4)), {
      code: 'HF_OUTBOX_FULL',
      message: /the group sleeper has not handled 3 messages/,
    });
    const awake = await receive(publisher, 'slow', { group: 'sleeper' });
    await awake.count(3);
    await publisher.publish(message('slow', 4));
    await awake.count(4);
    assert.deepEqual(awake.ids, ids(messages('slow', 1, 4)));
  });

  it('takes no message when its file is full, and takes some again when room was made', async () => {
    const publisher = await start({ messagesMax: 1_000_000 });
    await (await receive(publisher, 'large')).close();
    const large = (number: number) => message('large', number, { content: 'x'.repeat(50_000) });
    let taken = 0;
    await assert.rejects(
      async () => {
        for (; taken < 100; taken++) await publisher.publish(large(taken));
      },
      { code: 'HF_OUTBOX_FULL', message: /has reached its size/ },
    );
    assert(taken > 5);
    const got = await receive(publisher, 'large');
    await got.count(taken);
    await publisher.publish(large(1_000));
    await got.count(taken + 1);
  });

  it('keeps so many dead letters of a group, the latest', async () => {
    const publisher = await start();
    await receive(publisher, 'poison', { maxDeliver: 1 }, () => Promise.reject(new Error('never')));
    for (const each of messages('poison', 1, 4)) await publisher.publish(each);
    await until('the last one is dead', async () => {
      const { deadLetters } = await publisher.deadLetters!.list();
      return deadLetters.at(-1)?.message.messageId === 'poison-4';
    });
    const { deadLetters } = await publisher.deadLetters!.list();
    assert.deepEqual(ids(deadLetters.map(letter => letter.message)), ids(messages('poison', 3, 4)));
  });

  it('goes on after another process kept the file locked', async () => {
    const publisher = await start();
    const got = await receive(publisher, 'locked');
    await mkdir(join(directory, 'shared'), { recursive: true });
    const other = new DatabaseSync(join(directory, 'shared/messages.sqlite'));
    other.exec('BEGIN IMMEDIATE');
    const published = messages('locked', 1, 3).map(one => publisher.publish(one));
    await new Promise(resolve => setTimeout(resolve, 50));
    assert.deepEqual(got.ids, []);
    other.exec('ROLLBACK');
    other.close();
    await Promise.all(published);
    await got.count(3);
    assert.deepEqual(got.ids, ids(messages('locked', 1, 3)));
  });
});
