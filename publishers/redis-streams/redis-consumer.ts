/**
 * Takes a group's entries for one consumer: first what it, or for an exclusive one anybody, had been given and not settled, then new ones; and
 * from time to time what others have had for too long. Replayed messages come by a stream of the group's own.
 *
 * It reads on a connection of its own, on which the read blocks. When that connection is cut to stop, Redis may have given it entries
 * that never came here: they are found among its pending ones, and released.
 */
import type { System } from '#core';
import type { Consumer, ConsumeOptions, Incoming } from '#messaging';
import type { RedisConnection } from './connection.ts';
import { readFields, textOf, toWire, type Names } from './streams.ts';

interface ConsumerDeps {
  system: System;
  redis: RedisConnection;
  reader: RedisConnection;
  /** Ends the reader. */
  close: () => void;
  names: Names;
  deadLettersMax: number;
}

interface Place {
  stream: string;
  id: string;
}

/** How long a read waits, and so how often it is looked for what others have had for too long. */
const blockMs = 1_000;
const trimMs = 2_000;
/** More than anybody's `ackWaitMs`. */
const releasedIdleMs = 24 * 3_600_000;

export async function startConsumer(
  deps: ConsumerDeps,
  options: ConsumeOptions,
  onMessage: (incoming: Incoming) => void,
): Promise<Consumer> {
  const { system, redis, reader, close, names, deadLettersMax } = deps;
  const { subject, group, member, prefetch, ackWaitMs, exclusive } = options;
  const streams = [names.again(subject, group), names.stream(subject)];
  const places = new Map<Incoming, Place>();
  let stopped = false;
  let wake: (() => void) | null = null;

  for (const stream of streams) await makeGroup(stream);
  const cancelTrimming = system.timers.every(trimMs, () => {
    for (const stream of streams) void redis.run('trim', [stream]).catch(ignoreEnd);
  });
  void redis.ended.then(() => cancelTrimming());
  const reading = read().catch(() => close()); // the session ends with the reader

  async function makeGroup(stream: string): Promise<void> {
    try {
      await redis.call('XGROUP', 'CREATE', stream, group, '$', 'MKSTREAM');
    } catch (error) {
      if (!(error as Error).message.startsWith('BUSYGROUP')) throw error;
    }
  }

  async function read(): Promise<void> {
    for (const stream of streams) await takeOver(stream, 0, !exclusive);
    let lookedMs = -Infinity;
    while (!stopped) {
      await room();
      const nowMs = system.clock.monotonicMs();
      if (!exclusive && nowMs - lookedMs >= blockMs) {
        lookedMs = nowMs;
        for (const stream of streams) await takeOver(stream, ackWaitMs, false);
      }
      if (stopped) return;
      // The count is that of each stream.
      const count = Math.max(1, Math.floor((prefetch - places.size) / streams.length));
      const words = [
        'GROUP',
        group,
        member,
        'COUNT',
        count,
        'BLOCK',
        blockMs,
        'STREAMS',
        ...streams,
        '>',
        '>',
      ];
      for (const [stream, entries] of pairs(await reader.call('XREADGROUP', ...words))) {
        for (const [id, fields] of entries as [Buffer, unknown][]) deliver(stream, id, fields, 1);
      }
    }
  }

  /** Hands out what is pending, in order and as there is room. */
  async function takeOver(stream: string, idleMs: number, own: boolean): Promise<void> {
    let from = '-';
    while (!stopped) {
      await room();
      const count = prefetch - places.size;
      const words = [group, member, idleMs, from, count, own ? '1' : '0'];
      const [last, ...entries] = (await reader.run('claim', [stream], ...words)) as [Buffer, ...unknown[]];
      for (const entry of entries) {
        const [id, deliveries, fields] = entry as [Buffer, number, unknown];
        deliver(stream, id, fields, deliveries);
      }
      if (last.length === 0) return;
      from = `(${last.toString()}`;
    }
  }

  function deliver(stream: string, idBytes: Buffer, fields: unknown, attempt: number): void {
    const id = idBytes.toString();
    for (const place of places.values()) if (place.id === id && place.stream === stream) return; // it is here already
    const incoming = { message: toWire(subject, readFields(fields), id), attempt };
    places.set(incoming, { stream, id });
    if (stopped) quietly(release([incoming]));
    else onMessage(incoming);
  }

  async function room(): Promise<void> {
    while (places.size >= prefetch && !stopped) await new Promise<void>(resolve => (wake = resolve));
  }

  function take(incoming: Incoming): Place {
    const place = places.get(incoming)!;
    places.delete(incoming);
    wake?.();
    return place;
  }

  async function release(incoming: readonly Incoming[]): Promise<void> {
    await releaseIds(incoming.map(take));
  }

  async function releaseIds(list: readonly Place[]): Promise<void> {
    for (const stream of streams) {
      const own = list.filter(place => place.stream === stream).map(({ id }) => id);
      if (own.length > 0) await redis.run('release', [stream], group, member, releasedIdleMs, ...own);
    }
  }

  /** What Redis has given to this consumer and never came here. */
  async function releaseUnseen(): Promise<void> {
    const held = new Set([...places.values()].map(({ stream, id }) => `${stream} ${id}`));
    for (const stream of streams) {
      const pending = (await redis.call('XPENDING', stream, group, '-', '+', 10_000, member)) as unknown[][];
      const unseen = pending.map(([id]) => ({ stream, id: textOf(id) }));
      await releaseIds(unseen.filter(({ id }) => !held.has(`${stream} ${id}`)));
    }
  }

  return {
    async ack(incoming) {
      const { stream, id } = take(incoming);
      await redis.call('XACK', stream, group, id);
    },
    release,
    async extend(incoming) {
      for (const stream of streams) {
        const own = incoming.map(one => places.get(one)).filter(place => place?.stream === stream);
        if (own.length > 0)
          await redis.run('extend', [stream], group, member, ...own.map(place => place!.id));
      }
    },
    async bury(incoming, { reason, attempts, failedAt }) {
      const { stream, id } = take(incoming);
      const { messageId, headers, body } = incoming.message;
      const letter = [subject, messageId, JSON.stringify(headers), body, reason, attempts, failedAt];
      await redis.run('bury', [stream, names.dead], group, id, deadLettersMax, ...letter);
    },
    async stop() {
      if (stopped) return;
      stopped = true;
      wake?.();
      cancelTrimming();
      close();
      await reading;
      await releaseUnseen();
    },
  };
}

/** A map in RESP3, as ioredis shows it: pairs, or a flat list; null when the time is over. */
function pairs(answer: unknown): [string, unknown][] {
  if (answer === null || answer === undefined) return [];
  if (answer instanceof Map) return [...answer].map(([name, value]) => [textOf(name), value]);
  const list = answer as unknown[];
  if (Array.isArray(list[0]))
    return (list as [Buffer, unknown][]).map(([name, value]) => [textOf(name), value]);
  const found: [string, unknown][] = [];
  for (let index = 0; index + 1 < list.length; index += 2) found.push([textOf(list[index]), list[index + 1]]);
  return found;
}

function quietly(promise: Promise<void>): void {
  promise.catch(ignoreEnd);
}

function ignoreEnd(): void {
  // The session is over, and what it had is settled otherwise.
}
