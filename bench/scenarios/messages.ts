/**
 * Messages through publishers, beside what one would write with the bare client in the same run: how many are published and delivered in a
 * second, and how long one takes from `publish` to its handler. Redis with `appendfsync everysec`; the local publisher with a sync for
 * each transaction. One process publishes and consumes. The bare clients keep what a message needs to get there, and nothing
 * of the rest: no ids looked up, no outbox, no retries.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Redis } from 'ioredis';
import type { CreatePublisher, Message, MessagePublisher, Settings } from '#core';
import createLocal from '../../publishers/local/main.ts';
import createRedis from '../../publishers/redis-streams/main.ts';
import { silentLog } from '../../ownership/silent-log.ts';
import { startRedis, type RedisServer } from '../../tests/support/redis-server.ts';
import { percentile, time, type Figure, type Scenario } from '../measure.ts';

const count = 10_000;
/** Publishes under way at once. */
const window = 500;
const rounds = 200;
const content = 'x'.repeat(256);

/** One way to carry messages, ours or bare. Everything is for a subject of its own. */
interface Carrier {
  prepare(subject: string): Promise<void>;
  publish(subject: string, number: number): Promise<void>;
  /** Resolves when so many were handled. */
  consume(subject: string, messages: number): Promise<void>;
  /** Calls for each message that comes, until the result is called. */
  listen(subject: string, onMessage: () => void): Promise<() => Promise<void>>;
}

interface Samples {
  published: number[];
  publishedCpu: number[];
  delivered: number[];
  deliveredCpu: number[];
  p50: number[];
  p99: number[];
}

export const messages: Scenario = {
  name: 'messages',
  async run(runs) {
    const directory = await mkdtemp(join(tmpdir(), 'hf-bench-messages-'));
    const redis = await startRedis({ persistence: 'everysec' });
    const overRedis = await start(createRedis, directory, {
      url: redis.url,
      prefix: 'bench',
      messagesMax: 1_000_000,
      deadLettersMax: 100,
    });
    const overFile = await start(createLocal, directory, {
      directory: join(directory, 'shared'),
      messagesMax: 1_000_000,
      fileBytesMax: 1_073_741_824,
      deadLettersMax: 100,
      sync: true,
    });
    const bareRedis = await connectBareRedis(redis);
    const bareFile = openBareFile(join(directory, 'bare.sqlite'));
    try {
      return [
        ...(await compare('redis-streams', ours(overRedis), 'ioredis', bareRedis.carrier, runs)),
        ...(await compare('local', ours(overFile), 'node:sqlite', bareFile.carrier, runs)),
      ];
    } finally {
      await Promise.all([overRedis.stop(), overFile.stop()]);
      bareRedis.close();
      bareFile.close();
      await redis.stop();
      await rm(directory, { recursive: true, force: true });
    }
  },
};

async function compare(
  name: string,
  own: Carrier,
  peerName: string,
  bare: Carrier,
  runs: number,
): Promise<Figure[]> {
  const make = (): Samples => ({
    published: [],
    publishedCpu: [],
    delivered: [],
    deliveredCpu: [],
    p50: [],
    p99: [],
  });
  const samples = { own: make(), bare: make() };
  for (let run = 0; run < runs; run++) {
    await measure(own, `own-${run}`, samples.own);
    await measure(bare, `bare-${run}`, samples.bare);
  }
  const figure = (what: string, unit: Figure['unit'], of: keyof Samples): Figure => ({
    name: `${name}: ${what}`,
    unit,
    samples: samples.own[of],
    peer: { name: peerName, samples: samples.bare[of] },
    aim: 'within 15 %',
  });
  return [
    figure('published', '1/s', 'published'),
    figure('delivered and acknowledged', '1/s', 'delivered'),
    figure('CPU of this process for one published', 'µs', 'publishedCpu'),
    figure('CPU of this process for one delivered', 'µs', 'deliveredCpu'),
    figure('publish to handler, p50', 'ms', 'p50'),
    figure('publish to handler, p99', 'ms', 'p99'),
  ];
}

async function measure(carrier: Carrier, subject: string, samples: Samples): Promise<void> {
  await carrier.prepare(subject);
  const publishing = await cost(() => publishAll(carrier, subject));
  samples.published.push(publishing.rate);
  samples.publishedCpu.push(publishing.cpuUs);
  const delivering = await cost(() => carrier.consume(subject, count));
  samples.delivered.push(delivering.rate);
  samples.deliveredCpu.push(delivering.cpuUs);
  const latencies: number[] = [];
  let came = () => {};
  await carrier.prepare(`${subject}-one`);
  const end = await carrier.listen(`${subject}-one`, () => came());
  for (let round = 0; round < rounds; round++) {
    const arrived = new Promise<void>(resolve => (came = resolve));
    latencies.push(
      await time(async () => {
        await carrier.publish(`${subject}-one`, round);
        await arrived;
      }),
    );
  }
  await end();
  samples.p50.push(percentile(latencies, 0.5));
  samples.p99.push(percentile(latencies, 0.99));
}

/** Of `count` messages: how many in a second, and the CPU time of one, which says more where others use the machine as well. */
async function cost(work: () => Promise<void>): Promise<{ rate: number; cpuUs: number }> {
  const before = process.cpuUsage();
  const ms = await time(work);
  const { user, system } = process.cpuUsage(before);
  return { rate: (count * 1_000) / ms, cpuUs: (user + system) / count };
}

async function publishAll(carrier: Carrier, subject: string): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await carrier.publish(subject, next++);
  };
  await Promise.all(Array.from({ length: window }, worker));
}

async function start(
  create: CreatePublisher,
  directory: string,
  settings: Settings,
): Promise<MessagePublisher> {
  const publisher = await create({
    name: 'bench',
    instanceId: 'bench',
    processId: 'bench-1',
    nodeName: 'bench',
    settings,
    log: silentLog,
    dataDirectory: join(directory, 'data'),
  });
  await publisher.start();
  return publisher;
}

function ours(publisher: MessagePublisher): Carrier {
  const message = (subject: string, number: number): Message => ({
    messageId: String(number),
    source: 'bench',
    timestamp: '2026-01-01T00:00:00.000Z',
    messageType: subject,
    content,
    properties: {},
  });
  return {
    async prepare(subject) {
      await (await publisher.subscribe!(subject, async () => {})).close();
    },
    publish: (subject, number) => publisher.publish(message(subject, number)),
    async consume(subject, messages) {
      const done = Promise.withResolvers<void>();
      let left = messages;
      const handler = async () => {
        if (--left === 0) done.resolve();
      };
      const subscription = await publisher.subscribe!(subject, handler, { concurrency: 256 });
      await done.promise;
      await subscription.close();
    },
    async listen(subject, onMessage) {
      const subscription = await publisher.subscribe!(subject, async () => onMessage());
      return () => subscription.close();
    },
  };
}

async function connectBareRedis(server: RedisServer): Promise<{ carrier: Carrier; close(): void }> {
  const [writer, reader] = [new Redis(server.url), new Redis(server.url)];
  await Promise.all([writer.ping(), reader.ping()]);
  const read = async (subject: string, block: number): Promise<string[]> => {
    const words = ['GROUP', 'g', 'c', 'COUNT', 256, 'BLOCK', block, 'STREAMS', subject, '>'];
    const found = (await reader.call('XREADGROUP', ...words)) as unknown[] | null;
    if (!found) return [];
    // The streams' names and entries, as pairs or one after the other: that depends on the protocol.
    const entries = (Array.isArray(found[0]) ? found[0][1] : found[1]) as [string][];
    return entries.map(([id]) => id);
  };
  return {
    carrier: {
      prepare: async subject => void (await writer.call('XGROUP', 'CREATE', subject, 'g', '$', 'MKSTREAM')),
      publish: async (subject, number) =>
        void (await writer.call('XADD', subject, '*', 'i', number, 'b', content)),
      async consume(subject, messages) {
        for (let handled = 0; handled < messages;) {
          const ids = await read(subject, 1_000);
          await Promise.all(ids.map(id => writer.call('XACK', subject, 'g', id)));
          handled += ids.length;
        }
      },
      async listen(subject, onMessage) {
        let on = true;
        const loop = (async () => {
          while (on) {
            const ids = await read(subject, 50);
            await Promise.all(ids.map(id => writer.call('XACK', subject, 'g', id)));
            for (let each = 0; each < ids.length; each++) onMessage();
          }
        })();
        return async () => {
          on = false;
          await loop;
        };
      },
    },
    close() {
      writer.disconnect();
      reader.disconnect();
    },
  };
}

/** A table as a queue: what is published in one turn is one transaction, and so is what is taken. */
function openBareFile(file: string): { carrier: Carrier; close(): void } {
  const database = new DatabaseSync(file);
  database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    CREATE TABLE queue (seq INTEGER PRIMARY KEY, subject TEXT, body TEXT); CREATE INDEX by_subject ON queue (subject, seq)`);
  const insert = database.prepare('INSERT INTO queue (subject, body) VALUES (?, ?)');
  const oldest = database.prepare('SELECT seq, body FROM queue WHERE subject = ? ORDER BY seq LIMIT 256');
  const remove = database.prepare('DELETE FROM queue WHERE seq = ?');
  let batch: { subject: string; resolve: () => void }[] = [];
  let onCommit = () => {};

  function commit(): void {
    const entries = batch;
    batch = [];
    database.exec('BEGIN IMMEDIATE');
    for (const { subject } of entries) insert.run(subject, content);
    database.exec('COMMIT');
    for (const { resolve } of entries) resolve();
    onCommit();
  }

  function take(subject: string): number {
    database.exec('BEGIN IMMEDIATE');
    const rows = oldest.all(subject);
    for (const row of rows) remove.run(row.seq!);
    database.exec('COMMIT');
    return rows.length;
  }

  return {
    carrier: {
      prepare: () => Promise.resolve(),
      publish: subject =>
        new Promise(resolve => {
          batch.push({ subject, resolve });
          if (batch.length === 1) setImmediate(commit);
        }),
      async consume(subject, messages) {
        for (let handled = 0; handled < messages;) {
          handled += take(subject);
          await new Promise(resolve => setImmediate(resolve));
        }
      },
      async listen(subject, onMessage) {
        onCommit = () => {
          for (let each = take(subject); each > 0; each--) onMessage();
        };
        return async () => {
          onCommit = () => {};
        };
      },
    },
    close: () => database.close(),
  };
}
