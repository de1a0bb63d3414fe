/** Part of the conformance of publishers: processes and brokers that are killed and frozen. */
import assert from 'node:assert/strict';
import type { MessagePublisher } from '#core';
import { until } from '../../support/wait.ts';
import { ids, message, messages, receive, type BrokerControl, type Site } from './site.ts';

export function describeFaults(here: () => Site, hasBroker: boolean): void {
  describeDeadConsumer(here);
  if (hasBroker) describeAbsentBroker(here);
}

function describeDeadConsumer(here: () => Site): void {
  it('gives others what a killed process had not acknowledged, and nothing that it had', async () => {
    const site = here();
    const subject = site.name('crash');
    const publisher = await site.publisher();
    const options = { group: 'g', concurrency: 2, ackWaitMs: 1_000 };
    const first = site.member({ consume: { subject, options, acknowledge: 6 } });
    await until('it has subscribed', async () => first.said('subscribed').length > 0);
    const sent = messages(subject, 1, 20);
    for (const one of sent) await publisher.publish(one);
    await until('it stands still', async () => first.said('received').length === 8);
    await first.kill();
    const handled = first.said('handled');
    const second = await receive(publisher, subject, options);
    await second.count(14);
    // An acknowledgement may not have got out of the process that was killed: the last two were under way.
    const missing = ids(sent).filter(id => !second.ids.includes(id));
    assert.deepEqual(
      missing.filter(id => !handled.includes(id)),
      [],
      'nothing is lost',
    );
    assert.equal(new Set(second.ids).size, second.ids.length);
    const again = handled.filter(id => second.ids.includes(id));
    assert(again.length <= 2, `acknowledged, and delivered again: ${again.join()}`);
  });
}

function describeAbsentBroker(here: () => Site): void {
  const faults: {
    title: string;
    begin: (broker: BrokerControl) => unknown;
    end: (broker: BrokerControl) => unknown;
  }[] = [
    { title: 'killed', begin: broker => broker.kill(), end: broker => broker.start() },
    { title: 'frozen', begin: broker => broker.pause(), end: broker => broker.resume() },
  ];

  /** Publishes numbered messages one after the other until told to end. */
  function publishOn(publisher: MessagePublisher, subject: string) {
    let on = true;
    let published = 0;
    const done = (async () => {
      while (on) {
        await publisher.publish(message(subject, published + 1));
        published += 1;
        await new Promise(resolve => setTimeout(resolve, 2));
      }
    })();
    return {
      count: (number: number) => until(`${number} are published`, async () => published >= number, 60_000),
      async end() {
        on = false;
        await done;
        return published;
      },
    };
  }

  for (const { title, begin, end } of faults) {
    it(`loses nothing, repeats nothing and keeps the order when the broker is ${title} under load and comes back`, async () => {
      const site = here();
      const broker = site.broker!;
      const subject = site.name(title);
      const publisher = await site.publisher({ settings: { publishTimeoutMs: 1_000 } });
      const got = await receive(publisher, subject, { group: 'g' });
      const load = publishOn(publisher, subject);
      await got.count(20);
      await begin(broker);
      let published = 0;
      try {
        const before = got.ids.length;
        await load.count(before + 60); // goes on without the broker
      } finally {
        await end(broker);
        published = await load.end();
      }
      await got.count(published);
      assert.deepEqual(got.ids, ids(messages(subject, 1, published)));
      await publisher.publish(message(subject, published + 1));
      await got.count(published + 1);
    });
  }

  it('rejects messages when the outbox is full, and sends those that it took', async () => {
    const site = here();
    const broker = site.broker!;
    const subject = site.name('full');
    const instanceId = site.name('instance');
    const settings = { outboxMessagesMax: 5, publishTimeoutMs: 1_000 };
    const publisher = await site.publisher({ instanceId, settings });
    const got = await receive(publisher, subject);
    await publisher.publish(message(subject, 1));
    await got.count(1);
    await broker.kill();
    try {
      for (let number = 2; number <= 6; number++) await publisher.publish(message(subject, number));
      await assert.rejects(publisher.publish(message(subject, 7)), {
        code: 'HF_OUTBOX_FULL',
        message: /outbox is full/,
      });
    } finally {
      await broker.start();
    }
    await got.count(6);
    await publisher.publish(message(subject, 8));
    await got.count(7);
    assert.deepEqual(
      got.ids,
      [1, 2, 3, 4, 5, 6, 8].map(number => `${subject}-${number}`),
    );
  });

  it('sends what a killed process had in its outbox, in order, when another one starts', async () => {
    const site = here();
    const broker = site.broker!;
    const subject = site.name('left');
    const instanceId = site.name('instance');
    const settings = { publishTimeoutMs: 1_000 };
    const consumer = await site.publisher({ settings });
    const got = await receive(consumer, subject);
    const list = messages(subject, 1, 40);
    await broker.kill();
    let back = false;
    try {
      const member = site.member({ publish: { messages: list } }, { instanceId, settings });
      await until('it has published', async () => member.said('published').length >= 30, 60_000);
      await member.kill();
      const published = member.said('published').length;
      back = true;
      await broker.start();
      const next = await site.publisher({ instanceId, settings });
      await next.publish(message(subject, 100));
      await until('the last one is there', async () => got.ids.at(-1) === `${subject}-100`, 60_000);
      // The one that was being published when the process was killed may be there as well.
      const left = got.ids.slice(0, -1);
      assert(left.length === published || left.length === published + 1);
      assert.deepEqual(left, ids(list.slice(0, left.length)));
    } finally {
      if (!back) await broker.start();
    }
  });
}
