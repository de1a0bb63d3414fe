/**
 * The broker that is a file: every process of the machine that uses it opens it, and no server runs. A session is one opening; it
 * ends when the file cannot be used, for example because a process that is frozen has it locked for long.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { HoldfastError, type System } from '#core';
import type { Broker, BrokerSession } from '#messaging';
import { createBells } from './bells.ts';
import { startConsumer } from './local-consumer.ts';
import { createStore } from './store.ts';
import { createTransactions, isFull } from './transactions.ts';

export interface LocalBrokerOptions {
  /** Shared by all processes that exchange messages. */
  directory: string;
  /** Of one group's backlog. */
  messagesMax: number;
  /** Of the file. */
  fileBytesMax: number;
  deadLettersMax: number;
  duplicateWindowMs: number;
  /** Whether the disk has a message before `publish` resolves; without, a power cut may lose the last ones. */
  sync: boolean;
}

const pageBytes = 4096;
const busyMs = 10_000;

export function createLocalBroker(options: LocalBrokerOptions, system: System): Broker {
  return { connect: async () => open(options, system) };
}

function open(options: LocalBrokerOptions, system: System): BrokerSession {
  const { directory } = options;
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const database = new DatabaseSync(join(directory, 'messages.sqlite'), { timeout: 1_000 });
  try {
    return openSession(database, options, system);
  } catch (error) {
    database.close();
    throw error;
  }
}

function openSession(database: DatabaseSync, options: LocalBrokerOptions, system: System): BrokerSession {
  const { directory } = options;
  database.exec(`
    PRAGMA page_size = ${pageBytes};
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = ${options.sync ? 'FULL' : 'NORMAL'};
    PRAGMA max_page_count = ${Math.floor(options.fileBytesMax / pageBytes)};
    BEGIN IMMEDIATE`);
  const store = createStore(database, options);
  store.beginBoot(bootId(), system.clock.bootMs());
  database.exec('COMMIT');
  database.exec('PRAGMA busy_timeout = 0'); // from here on `transactions` waits
  const bells = createBells(join(directory, 'bells'), system);
  const over = Promise.withResolvers<Error>();
  const transactions = createTransactions({ database, system, waitMs: busyMs, onFailure: over.resolve });
  const consumers = new Map<string, { end(): void }>();
  let closed = false;

  return {
    ended: over.promise,
    async send(message) {
      let full: string[];
      try {
        full = await transactions.write(() => store.publish(message, system.clock.bootMs()));
      } catch (error) {
        if (!isFull(error)) throw error;
        throw refused(`its file in ${directory} has reached its size`, error);
      }
      if (full.length > 0)
        throw refused(`the group ${full[0]} has not handled ${options.messagesMax} messages`);
      bells.ring(message.subject);
    },
    async consume(wanted, onMessage) {
      const consumer = await startConsumer({ system, store, transactions, bells }, wanted, onMessage);
      if (closed) consumer.end();
      else consumers.set(wanted.member, consumer);
      return consumer;
    },
    async listDeadLetters({ group, limit, cursor }) {
      const deadLetters = store.deadLetters({ group, limit, after: Number(cursor ?? 0) });
      return { deadLetters, cursor: deadLetters.length < limit ? null : deadLetters.at(-1)!.id };
    },
    async replayDeadLetters(ids) {
      const replayed = await transactions.write(() =>
        ids.flatMap(id => {
          const subject = store.replay(Number(id));
          return subject === null ? [] : [{ id, subject }];
        }),
      );
      for (const subject of new Set(replayed.map(({ subject }) => subject))) bells.ring(subject);
      return replayed.map(({ id }) => id);
    },
    removeDeadLetters: ids => transactions.write(() => ids.filter(id => store.removeDead(Number(id)))),
    async close() {
      if (closed) return;
      closed = true;
      for (const consumer of consumers.values()) consumer.end();
      await transactions
        .write(() => {
          for (const id of consumers.keys()) store.endConsumer(id);
        })
        .catch(() => {}); // others find that it is gone when its time is over
      transactions.close();
      database.close();
      over.resolve(new Error('the file was closed'));
    },
  };
}

function refused(why: string, cause?: unknown): HoldfastError {
  return new HoldfastError('HF_OUTBOX_FULL', `the message was not taken: ${why}; publish it again later`, {
    cause,
  });
}

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    return 'unknown'; // not Linux: after a restart of the machine, times of before run out by themselves
  }
}
