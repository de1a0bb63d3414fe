/**
 * Redis Streams as the broker: a stream for each subject, with Redis's own consumer groups. What is beside that:
 *
 *   <prefix>:{<subject>}                  the stream; it is made with its first group
 *   <prefix>:{<subject>}:again:<group>    messages of this one group that were replayed
 *   <prefix>:id:<subject>:<messageId>     says that it was published, for the duplicate window
 *   <prefix>:dead                         a stream of all dead letters
 *
 * Entries that all groups have acknowledged are trimmed. Redis keeps messages as well as it is configured to: with
 * `appendfsync always` each is on disk before `publish` resolves, with `everysec` the last second can be lost.
 */
import { HoldfastError, type System } from '#core';
import type { Broker, BrokerSession, BuriedMessage } from '#messaging';
import { connectRedis, type RedisAddress, type RedisConnection } from './connection.ts';
import { startConsumer } from './redis-consumer.ts';
import { createNames, readFields, textOf, toWire } from './streams.ts';

export interface RedisBrokerOptions {
  address: RedisAddress;
  prefix: string;
  /** Of one stream. */
  messagesMax: number;
  /** Of all groups together. */
  deadLettersMax: number;
  duplicateWindowMs: number;
}

const probeMs = 5_000;

export function createRedisBroker(options: RedisBrokerOptions, system: System): Broker {
  return { connect: () => open(options, system) };
}

async function open(options: RedisBrokerOptions, system: System): Promise<BrokerSession> {
  const { address, messagesMax, duplicateWindowMs, deadLettersMax } = options;
  const redis = await connectRedis(address);
  const names = createNames(options.prefix);
  const readers = new Set<RedisConnection>();
  const given = Promise.withResolvers<Error>();
  const cancelProbing = system.timers.every(probeMs, () => void probe());
  let answered = true;

  /** A server that is frozen keeps its connections, and answers nothing. */
  async function probe(): Promise<void> {
    if (!answered) return given.resolve(new Error(`Redis did not answer for ${probeMs} ms`));
    answered = false;
    try {
      await redis.call('PING');
      answered = true;
    } catch {
      // The connection is over, and says so by itself.
    }
  }

  return {
    ended: Promise.race([redis.ended, given.promise]),
    async send({ subject, messageId, headers, body }) {
      let answer: unknown;
      try {
        answer = await redis.run(
          'publish',
          [names.stream(subject), names.published(subject, messageId)],
          messagesMax,
          duplicateWindowMs,
          messageId,
          JSON.stringify(headers),
          body,
        );
      } catch (error) {
        throw refusal(error as Error) ?? error;
      }
      if (textOf(answer) === 'full') {
        throw full(`a group has not handled ${messagesMax} messages of ${subject}`);
      }
    },
    async consume(wanted, onMessage) {
      const reader = await connectRedis(address);
      readers.add(reader);
      void reader.ended.then(cause => {
        if (readers.delete(reader)) given.resolve(cause);
      });
      const close = () => {
        readers.delete(reader);
        reader.close();
      };
      return startConsumer({ system, redis, reader, close, names, deadLettersMax }, wanted, onMessage);
    },
    async listDeadLetters({ group, limit, cursor }) {
      const deadLetters: BuriedMessage[] = [];
      let from = cursor === null ? '-' : `(${cursor}`;
      for (;;) {
        const entries = (await redis.call('XRANGE', names.dead, from, '+', 'COUNT', limit)) as unknown[];
        for (const entry of entries) {
          const letter = toDeadLetter(entry);
          if (group === null || letter.group === group) deadLetters.push(letter);
          if (deadLetters.length === limit) return { deadLetters, cursor: letter.id };
          from = `(${letter.id}`;
        }
        if (entries.length < limit) return { deadLetters, cursor: null };
      }
    },
    async replayDeadLetters(ids) {
      const done: string[] = [];
      for (const id of ids.filter(isId)) {
        const [entry] = (await redis.call('XRANGE', names.dead, id, id)) as unknown[];
        if (!entry) continue;
        const { group, message } = toDeadLetter(entry);
        const replayed = await redis.run(
          'replay',
          [names.dead, names.again(message.subject, group)],
          id,
          group,
        );
        if (Number(replayed) === 1) done.push(id);
      }
      return done;
    },
    async removeDeadLetters(ids) {
      const done: string[] = [];
      for (const id of ids.filter(isId)) {
        if (Number(await redis.call('XDEL', names.dead, id)) === 1) done.push(id);
      }
      return done;
    },
    async close() {
      cancelProbing();
      const open = [...readers];
      readers.clear();
      for (const reader of open) reader.close();
      redis.close();
    },
  };
}

function toDeadLetter(entry: unknown): BuriedMessage {
  const [id, list] = entry as [Buffer, unknown];
  const fields = readFields(list);
  const text = (name: string) => fields.get(name)?.toString() ?? '';
  return {
    id: id.toString(),
    group: text('g'),
    message: toWire(text('s'), fields),
    reason: text('r'),
    attempts: Number(text('a')),
    failedAt: text('t'),
  };
}

/** What Redis says of this message and not of the connection: it has no memory, or cannot write. Null for anything else. */
function refusal(error: Error): HoldfastError | null {
  return /^(?:OOM|MISCONF)\b/.test(error.message) ? full(error.message, error) : null;
}

function full(why: string, cause?: Error): HoldfastError {
  return new HoldfastError(
    'HF_OUTBOX_FULL',
    `Redis did not take the message: ${why}; publish it again later`,
    { cause },
  );
}

const isId = (id: string): boolean => /^[0-9]{1,20}-[0-9]{1,20}$/.test(id);
