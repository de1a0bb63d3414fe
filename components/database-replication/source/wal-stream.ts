/**
 * The stream of one replication slot. What must hold:
 * - Only what the target has durably is confirmed: the server forgets it, and would never send it again. (Client libraries that confirm
 *   what they have received, or one byte more, lose transactions when the process dies.)
 * - At most `queueBytesMax` wait here; beyond that the socket is not read, and the server waits.
 * - The server hears from us every `statusMs` even then; it drops a receiver that is silent for `wal_sender_timeout`.
 * - A server that is silent although it was asked to answer counts as gone.
 */
import type { System } from '#core';
import { breakOff, connectPostgres, type PostgresEndpoint } from '../postgres-connection.ts';
import { formatLsn, type Lsn } from './lsn.ts';
import { decodeWalMessage, postgresEpochMs, type WalMessage } from './pgoutput.ts';

export type StreamItem =
  | { readonly type: 'message'; readonly message: WalMessage; readonly bytes: number }
  /** Everything that was committed before `end` has been sent. */
  | { readonly type: 'alive'; readonly end: Lsn; readonly bytes: number };

export interface WalStream {
  /** Resolves to the next one; rejects when the connection has ended. */
  next(): Promise<StreamItem>;
  /** Whether something is waiting that is more than a sign of life. */
  hasMore(): boolean;
  /** How many row changes have been received and not been taken. */
  waiting(): number;
  confirm(lsn: Lsn): void;
  close(): void;
}

interface ReplicationConnection {
  stream: { pause(): void; resume(): void; destroy(): void };
  on(event: 'copyData', listener: (message: { chunk: Buffer }) => void): void;
  once(event: 'replicationStart', listener: () => void): void;
  sendCopyFromChunk(chunk: Buffer): void;
}

const queueBytesMax = 4 * 1024 * 1024;
const statusMs = 2_000;
const silenceMsMax = 60_000;

export async function openWalStream(
  endpoint: PostgresEndpoint,
  options: { name: string; slot: string; publication: string; from: Lsn; system: System },
): Promise<WalStream> {
  const { name, slot, publication, from, system } = options;
  const client = await connectPostgres(endpoint, { name, replication: true });
  const { connection } = client as unknown as { connection: ReplicationConnection };
  const queue: StreamItem[] = [];
  /** Those before it have been taken; they are cut off now and then, because cutting off one is as dear as many. */
  let head = 0;
  let queuedBytes = 0;
  let paused = false;
  let failure: Error | null = null;
  let waiting: { resolve(): void } | null = null;
  let confirmed = from;
  let heardMs = system.clock.monotonicMs();

  function fail(error: Error): void {
    failure ??= error;
    waiting?.resolve();
  }

  function push(item: StreamItem): void {
    queue.push(item);
    queuedBytes += item.bytes;
    if (!paused && queuedBytes > queueBytesMax) {
      paused = true;
      connection.stream.pause();
    }
    waiting?.resolve();
  }

  function sendStatus(): void {
    const status = Buffer.alloc(34);
    status.write('r', 0, 'latin1');
    for (const offset of [1, 9, 17]) status.writeBigUInt64BE(confirmed, offset);
    status.writeBigInt64BE(BigInt(Math.trunc(system.clock.wallMs()) - postgresEpochMs) * 1000n, 25);
    status.writeUInt8(1, 33); // answer: so its silence means something, and we learn how far it is
    connection.sendCopyFromChunk(status);
  }

  client.on('error', fail);
  client.on('end', () => fail(new Error('PostgreSQL ended the replication connection')));
  connection.on('copyData', ({ chunk }) => {
    heardMs = system.clock.monotonicMs();
    try {
      // Decoded at once: the driver uses the memory again.
      const kind = String.fromCharCode(chunk.readUInt8(0));
      if (kind === 'w') {
        push({ type: 'message', message: decodeWalMessage(chunk.subarray(25)), bytes: chunk.length });
      } else if (kind === 'k') push({ type: 'alive', end: chunk.readBigUInt64BE(1) as Lsn, bytes: 0 });
    } catch (error) {
      fail(error instanceof Error ? error : new Error(String(error)));
    }
  });
  const started = new Promise<void>((resolve, reject) => {
    connection.once('replicationStart', resolve);
    client
      .query(
        `START_REPLICATION SLOT "${slot}" LOGICAL ${formatLsn(from)} (proto_version '1', publication_names '${publication}')`,
      )
      .then(
        () => fail(new Error('PostgreSQL ended the stream')),
        (error: Error) => {
          fail(error);
          reject(error);
        },
      );
  });
  try {
    await started;
  } catch (error) {
    breakOff(client);
    throw error;
  }
  sendStatus();
  const stopTicking = system.timers.every(statusMs, () => {
    if (!paused && system.clock.monotonicMs() - heardMs > silenceMsMax) {
      fail(new Error(`PostgreSQL has not answered for ${silenceMsMax} ms`));
    } else if (!failure) sendStatus();
  });

  return {
    async next() {
      for (;;) {
        if (failure) throw failure;
        const item = queue[head];
        if (item) {
          head += 1;
          if (head === 1_024) queue.splice(0, head);
          head %= 1_024;
          queuedBytes -= item.bytes;
          if (paused && queuedBytes < queueBytesMax / 2) {
            paused = false;
            heardMs = system.clock.monotonicMs();
            connection.stream.resume();
          }
          return item;
        }
        await new Promise<void>(resolve => (waiting = { resolve }));
        waiting = null;
      }
    },
    hasMore: () => queue.findIndex((item, place) => place >= head && item.type === 'message') >= 0,
    waiting: () => queue.length - head,
    confirm(lsn) {
      if (lsn > confirmed) confirmed = lsn;
    },
    close() {
      stopTicking();
      fail(new Error('the stream was closed'));
      breakOff(client);
    },
  };
}
