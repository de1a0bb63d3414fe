/**
 * What every publisher that delivers has to keep, against its real broker. The faults are in `faults.ts`, as they take processes of their own.
 */
import assert from 'node:assert/strict';
import type { DeadLetter, Message, MessagePublisher } from '#core';
import { until } from '../../support/wait.ts';
import { describeFaults } from './faults.ts';
import {
  ids,
  message,
  messages,
  openSite,
  quick,
  receive,
  type PublisherUnderTest,
  type Site,
} from './site.ts';

export function describePublisher(title: string, under: PublisherUnderTest): void {
  describe(title, function () {
    this.timeout(120_000);
    let site: Site;
    before(async () => {
      site = await openSite(under);
    });
    afterEach(() => site.clean());
    after(() => site.close());

    describeDelivery(() => site);
    describeFailures(() => site);
    describeOrder(() => site);
    describeFaults(() => site, under.hasBroker);
  });
}

async function publishAll(publisher: MessagePublisher, list: readonly Message[]): Promise<void> {
  await Promise.all(list.map(one => publisher.publish(one)));
}

function describeDelivery(here: () => Site): void {
  it('delivers a message as it was published: text, JSON, bytes, nothing, and its properties', async () => {
    const site = here();
    const subject = site.name('orders.created');
    const publisher = await site.publisher();
    const got = await receive(publisher, subject);
    const trace = {
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      correlationId: 'c-1',
    };
    const sent = [
      message(subject, 1, { content: 'zwei\nZeilen, "quotes", \u2028 and 😀', properties: trace }),
      message(subject, 2, { content: '{"a":[1,2]}', contentType: 'application/json', properties: {} }),
      message(subject, 3, { content: '', properties: { empty: '', 'x.y-z': 'ü\n' } }),
    ];
    const none = message(subject, 4);
    delete none.content;
    const bytes = { ...none, messageId: `${subject}-5`, bytes: new Uint8Array([0, 255, 10, 13, 128]) };
    for (const one of [...sent, none, bytes]) await publisher.publish(one);
    await got.count(5);
    assert.deepEqual(got.messages, [...sent, none, bytes]);
  });

  it('keeps messages for a group while none of its members is there', async () => {
    const site = here();
    const subject = site.name('kept');
    const publisher = await site.publisher();
    const first = await receive(publisher, subject, { group: 'g' });
    await first.close();
    await publishAll(publisher, messages(subject, 1, 5));
    const second = await receive(publisher, subject, { group: 'g' });
    await second.count(5);
    assert.deepEqual(second.ids, ids(messages(subject, 1, 5)));
    assert.deepEqual(first.ids, []);
  });

  it('gives each message to one member of each group', async () => {
    const site = here();
    const subject = site.name('shared');
    const [one, two] = [await site.publisher(), await site.publisher()];
    const pause = () => new Promise<void>(resolve => setTimeout(resolve, 2));
    const members = [
      await receive(one, subject, { group: 'a', concurrency: 2 }, pause),
      await receive(two, subject, { group: 'a', concurrency: 2 }, pause),
    ];
    const other = await receive(two, subject, { group: 'b', concurrency: 4 });
    const sent = messages(subject, 1, 120);
    await publishAll(one, sent);
    await other.count(120);
    await until('both have handled all', async () => members[0]!.ids.length + members[1]!.ids.length >= 120);
    assert.deepEqual([...members[0]!.ids, ...members[1]!.ids].sort(), ids(sent).sort());
    assert.deepEqual([...other.ids].sort(), ids(sent).sort());
    for (const member of members) assert(member.ids.length > 0, 'each member has a share');
  });

  it('handles as many messages at once as it may, and no more', async () => {
    const site = here();
    const subject = site.name('at-once');
    const publisher = await site.publisher();
    let running = 0;
    let most = 0;
    const gate = Promise.withResolvers<void>();
    const got = await receive(publisher, subject, { concurrency: 3 }, async () => {
      running += 1;
      most = Math.max(most, running);
      if (running === 3) gate.resolve();
      await gate.promise;
      await new Promise(resolve => setTimeout(resolve, 1));
      running -= 1;
    });
    await publishAll(publisher, messages(subject, 1, 12));
    await got.count(12);
    assert.equal(most, 3);
  });

  it('takes a second message with the same id for the first one', async () => {
    const site = here();
    const subject = site.name('twice');
    const publisher = await site.publisher();
    const got = await receive(publisher, subject);
    await publisher.publish(message(subject, 1));
    await publisher.publish(message(subject, 1));
    await publisher.publish(message(subject, 2));
    await publisher.publish(message(subject, 1));
    await publisher.publish(message(subject, 3));
    await got.count(3);
    assert.deepEqual(got.ids, ids(messages(subject, 1, 3)));
  });

  it('refuses what is no message, or too large, and says what was expected', async () => {
    const site = here();
    const subject = site.name('refused');
    const publisher = await site.publisher({ settings: { contentBytesMax: 100 } });
    const refused = (change: Partial<Message>, expected: object) =>
      assert.rejects(publisher.publish({ ...message(subject, 1), ...change }), {
        name: 'HoldfastError',
        ...expected,
      });
    await refused(
      { content: 'x'.repeat(101) },
      { code: 'HF_MESSAGE_TOO_LARGE', message: /101 bytes, more than the 100/ },
    );
    await refused(
      { messageType: 'a..b' },
      { code: 'HF_MESSAGE_INVALID', message: /messageType is "a\.\.b"; expected/ },
    );
    await refused({ messageId: '' }, { code: 'HF_MESSAGE_INVALID' });
    await refused({ properties: { 'hf-x': '1' } }, { code: 'HF_MESSAGE_INVALID' });
    await refused({ bytes: new Uint8Array(1) }, { code: 'HF_MESSAGE_INVALID' });
    await publisher.stop();
    await refused({}, { code: 'HF_WRONG_STATE' });
  });

  it('lets handlers finish when it stops, and leaves what waits to others', async () => {
    const site = here();
    const subject = site.name('drained');
    const [one, two] = [await site.publisher(), await site.publisher()];
    const [begun, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const first = await receive(one, subject, { group: 'g' }, async () => {
      begun.resolve();
      await gate.promise;
    });
    await publishAll(two, messages(subject, 1, 6));
    await begun.promise;
    const stopped = one.stop();
    const second = await receive(two, subject, { group: 'g' });
    await second.count(5);
    gate.resolve();
    await stopped;
    assert.equal(one.state, 'stopped');
    assert.deepEqual(first.ids, [`${subject}-1`]);
    assert.deepEqual([...second.ids].sort(), ids(messages(subject, 2, 6)));
  });
}

function describeFailures(here: () => Site): void {
  const poisonous = (number: number) => async (got: Message) => {
    if (got.properties.number === String(number)) throw new Error('cannot be handled');
  };

  async function deadLetters(
    publisher: MessagePublisher,
    group: string,
    count: number,
  ): Promise<DeadLetter[]> {
    return until(`${count} dead letters`, async () => {
      const { deadLetters: found } = await publisher.deadLetters!.list({ group });
      return found.length === count && found;
    });
  }

  it('delivers again what was rejected, and counts the attempts', async () => {
    const site = here();
    const subject = site.name('again');
    const publisher = await site.publisher();
    const attempts: number[] = [];
    const got = await receive(publisher, subject, { maxDeliver: 4 }, async (_, { attempt, group }) => {
      assert.equal(group, 'instance');
      attempts.push(attempt);
      if (attempt < 3) throw new Error('not yet');
    });
    await publisher.publish(message(subject, 1));
    await got.count(1);
    assert.deepEqual(attempts, [1, 2, 3]);
    assert.deepEqual((await publisher.deadLetters!.list({ group: 'instance' })).deadLetters, []);
  });

  it('puts poison aside, goes on with the others, and gives it again when it is replayed', async () => {
    const site = here();
    const [subject, group] = [site.name('poison'), site.name('group')];
    const publisher = await site.publisher();
    let cured = false;
    const got = await receive(publisher, subject, { group, maxDeliver: 2 }, async one => {
      if (!cured) await poisonous(2)(one);
    });
    await publishAll(publisher, messages(subject, 1, 4));
    const [letter] = await deadLetters(publisher, group, 1);
    await got.count(3);
    assert.deepEqual(
      [...got.ids].sort(),
      [1, 3, 4].map(number => `${subject}-${number}`),
    );
    assert(letter);
    assert.deepEqual(letter.message, message(subject, 2));
    assert.equal(letter.group, group);
    assert.equal(letter.attempts, 2);
    assert.equal(letter.reason, 'cannot be handled');
    assert(Number.isFinite(Date.parse(letter.failedAt)));

    cured = true;
    assert.deepEqual(await publisher.deadLetters!.replay([letter.id, 'no-such-id']), [letter.id]);
    await got.count(4);
    assert.equal(got.ids.at(-1), `${subject}-2`);
    await deadLetters(publisher, group, 0);
    assert.deepEqual(await publisher.deadLetters!.replay([letter.id]), []);
  });

  it('lists dead letters in pages, and removes them', async () => {
    const site = here();
    const [subject, group] = [site.name('pages'), site.name('group')];
    const publisher = await site.publisher();
    await receive(publisher, subject, { group, maxDeliver: 1 }, () => Promise.reject(new Error('never')));
    await publishAll(publisher, messages(subject, 1, 3));
    await deadLetters(publisher, group, 3);
    const first = await publisher.deadLetters!.list({ group, limit: 2 });
    assert.equal(first.deadLetters.length, 2);
    assert(first.cursor);
    const rest = await publisher.deadLetters!.list({ group, limit: 2, cursor: first.cursor });
    const all = [...first.deadLetters, ...rest.deadLetters];
    assert.deepEqual(ids(all.map(letter => letter.message)), ids(messages(subject, 1, 3)));
    assert.deepEqual(await publisher.deadLetters!.remove(all.slice(0, 2).map(({ id }) => id)), [
      all[0]!.id,
      all[1]!.id,
    ]);
    const [left] = await deadLetters(publisher, group, 1);
    assert.equal(left!.message.messageId, `${subject}-3`);
  });

  it('drops poison where no dead letters are wanted', async () => {
    const site = here();
    const [subject, group] = [site.name('dropped'), site.name('group')];
    const publisher = await site.publisher();
    const got = await receive(publisher, subject, { group, maxDeliver: 2, deadLetter: false }, poisonous(1));
    await publishAll(publisher, messages(subject, 1, 2));
    await got.count(1);
    await got.close();
    const again = await receive(publisher, subject, { group });
    await publisher.publish(message(subject, 3));
    await again.count(1);
    assert.deepEqual([...got.ids, ...again.ids], [`${subject}-2`, `${subject}-3`]);
    await deadLetters(publisher, group, 0);
  });
}

function describeOrder(here: () => Site): void {
  it('hands messages out in the order in which they were published', async () => {
    const site = here();
    const subject = site.name('in-order');
    const publisher = await site.publisher();
    const got = await receive(publisher, subject);
    const sent = messages(subject, 1, 200);
    await publishAll(publisher, sent);
    await got.count(200);
    assert.deepEqual(got.ids, ids(sent));
  });

  it('keeps the order of each key where that is asked for, also of what fails, and serves keys side by side', async () => {
    const site = here();
    const subject = site.name('keyed');
    const publisher = await site.publisher();
    const running = new Set<string>();
    let sideBySide = 0;
    const seen: Record<string, string[]> = {};
    const orderBy = ({ properties }: Message) => properties.key!;
    const options = { concurrency: 4, maxDeliver: 3, orderBy };
    const got = await receive(publisher, subject, options, async (one, { attempt }) => {
      const key = orderBy(one);
      assert(!running.has(key), 'one at a time for each key');
      running.add(key);
      sideBySide = Math.max(sideBySide, running.size);
      await new Promise(resolve => setTimeout(resolve, 1));
      running.delete(key);
      if (attempt === 1 && Number(one.properties.number) % 7 === 0) throw new Error('once more');
      (seen[key] ??= []).push(one.messageId);
    });
    const sent = messages(subject, 1, 60).map((one, index) => ({
      ...one,
      properties: { ...one.properties, key: `k${index % 4}` },
    }));
    await publishAll(publisher, sent);
    await got.count(60);
    for (const key of ['k0', 'k1', 'k2', 'k3']) {
      assert.deepEqual(seen[key], ids(sent.filter(one => orderBy(one) === key)));
    }
    assert(sideBySide > 1);
  });

  it('takes over in order what a predecessor left, when order is asked for', async () => {
    const site = here();
    const subject = site.name('succession');
    const publisher = await site.publisher();
    const consume = { subject, options: { group: 'g', concurrency: 2, ackWaitMs: 600_000, backoff: quick } };
    const first = site.member({ consume: { ...consume, orderByProperty: 'key', acknowledge: 3 } });
    await until('it has subscribed', async () => first.said('subscribed').length > 0);
    const sent = messages(subject, 1, 12);
    await publishAll(publisher, sent);
    await until('it holds the fourth', async () => first.said('received').length === 4);
    await first.kill();
    const second = await receive(publisher, subject, { group: 'g', orderBy: () => '' });
    await second.count(9);
    assert.deepEqual(second.ids, ids(sent.slice(3)));
  });
}
