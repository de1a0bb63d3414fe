/**
 * What leases look like in etcd, and the few requests about them.
 *
 * - `<prefix>lease/<name>` → the holder, as plain text, attached to an etcd lease of its own. The key's create_revision is the
 *   revision of the whole cluster at which this holding began: it stays while the key is written again, and no later holding of
 *   any name gets one as low.
 * - `<prefix>epoch` → a number, written once: the microseconds since 1970 when it was made. The fence is the sum of both. An etcd that has
 *   been wiped counts its revisions from 1 again, but gets a new, higher epoch, because nobody makes a million revisions a second.
 *   Every request reads or compares the epoch together with the key, so that no fence is made of an old epoch and a new revision.
 */
import { compareNames } from '../validation.ts';
import { etcdCode, EtcdError, unavailable, type Gateway, type JsonObject } from './gateway.ts';

export interface Epoch {
  readonly base: bigint;
  readonly revision: bigint;
}

export interface KeyRecord {
  readonly key: Buffer;
  readonly holder: string;
  readonly fence: bigint;
  /** Revision of the last write of the key; in a comparison it covers everything about it. */
  readonly revision: bigint;
  readonly leaseId: string;
}

/** What etcd still gives a lease: whole seconds, rounded down. */
export interface Remaining {
  readonly seconds: number;
}

export interface Records {
  /** Makes the epoch if there is none. */
  read(name: string): Promise<{ epoch: Epoch; record: KeyRecord | null }>;
  /** `after`: a name, or null. */
  readMany(query: { prefix: string; after: string | null; limit: number }): Promise<KeyRecord[]>;
  /** A new etcd lease of at least so many seconds. */
  grant(seconds: number): Promise<{ leaseId: string; seconds: number }>;
  /** Starts the lease's time anew, null if it is over. */
  keepAlive(leaseId: string): Promise<Remaining | null>;
  remaining(leaseId: string): Promise<Remaining | null>;
  /**
   * Best effort: a lease that is left behind ends by itself. Only for one on which no key hangs, or ever will: when an answer was lost the
   * key may be there, its holder may find it and count on it, and would lose it to a revocation that is carried out late.
   */
  revoke(leaseId: string): void;
  /**
   * Writes the key if it is still as `expected` (null: not there). Resolves to the fence, null if it was not: then it has revoked
   * the lease, unless that one may be in use after all.
   */
  write(change: {
    name: string;
    holder: string;
    leaseId: string;
    epoch: Epoch;
    expected: KeyRecord | null;
  }): Promise<bigint | null>;
  /** Removes the key if it is still as `expected`. */
  remove(expected: KeyRecord, epoch: Epoch): Promise<boolean>;
  nameOf(record: KeyRecord): string;
  keyOf(name: string): Buffer;
}

interface KeyValue {
  key: string;
  value?: string;
  create_revision: string;
  mod_revision: string;
  lease?: string;
}

const attemptsMax = 5;
const encode = (bytes: Buffer | string) => Buffer.from(bytes).toString('base64');

export function createRecords(ports: { gateway: Gateway; prefix: string; wallMs: () => number }): Records {
  const { gateway } = ports;
  const root = `${ports.prefix}lease/`;
  const epochKey = `${ports.prefix}epoch`;

  async function transact(
    body: object,
  ): Promise<{ succeeded: boolean; parts: JsonObject[]; retried: boolean; revision: bigint }> {
    const { answer, retried } = await gateway.call('/v3/kv/txn', body);
    return {
      succeeded: answer['succeeded'] === true,
      parts: (answer['responses'] ?? []) as JsonObject[],
      retried,
      revision: BigInt(((answer['header'] ?? {}) as { revision?: string }).revision ?? 0),
    };
  }

  async function makeEpoch(): Promise<void> {
    const value = String(Math.floor(ports.wallMs() * 1_000));
    await transact({
      compare: [{ target: 'CREATE', key: encode(epochKey), result: 'EQUAL', create_revision: '0' }],
      success: [{ request_put: { key: encode(epochKey), value: encode(value) } }],
    });
  }

  /** A request together with the epoch, as one linearizable transaction. */
  async function withEpoch(range: object): Promise<{ epoch: Epoch; found: KeyValue[] }> {
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const { parts } = await transact({
        success: [{ request_range: { key: encode(epochKey) } }, { request_range: range }],
      });
      const [epochs, found] = parts.map(keysOf);
      const [epoch] = epochs ?? [];
      if (epoch) return { epoch: readEpoch(epoch, epochKey), found: found ?? [] };
      await makeEpoch();
    }
    throw unavailable(`etcd loses the key ${epochKey}`);
  }

  const isEpoch = (epoch: Epoch) => isUnchanged(Buffer.from(epochKey), epoch.revision);

  function revoke(leaseId: string): void {
    gateway.call('/v3/lease/revoke', { ID: leaseId }).catch(() => {
      // It ends by itself.
    });
  }

  return {
    revoke,
    keyOf: name => Buffer.from(root + name),
    nameOf: ({ key }) => key.toString().slice(root.length),
    async read(name) {
      const { epoch, found } = await withEpoch({ key: encode(root + name) });
      return { epoch, record: found[0] ? toRecord(found[0], epoch) : null };
    },
    async readMany({ prefix, after, limit }) {
      const start = after === null || compareNames(after, prefix) < 0 ? root + prefix : `${root}${after}\0`;
      const { epoch, found } = await withEpoch({
        key: encode(start),
        range_end: encode(endOf(root + prefix)),
        limit: String(limit),
      });
      return found.map(one => toRecord(one, epoch));
    },
    async grant(seconds) {
      const { answer } = await gateway.call('/v3/lease/grant', { TTL: String(seconds) });
      return { leaseId: String(answer['ID']), seconds: Number(answer['TTL']) };
    },
    async keepAlive(leaseId) {
      const { answer } = await gateway.call('/v3/lease/keepalive', { ID: leaseId });
      const seconds = Number(answer['TTL'] ?? 0);
      return seconds > 0 ? { seconds } : null;
    },
    async remaining(leaseId) {
      const { answer } = await gateway.call('/v3/lease/timetolive', { ID: leaseId });
      const seconds = Number(answer['TTL'] ?? 0);
      return seconds >= 0 ? { seconds } : null;
    },
    async write({ name, holder, leaseId, epoch, expected }) {
      const key = Buffer.from(root + name);
      let outcome;
      try {
        outcome = await transact({
          compare: [isEpoch(epoch), isUnchanged(key, expected?.revision ?? 0n)],
          success: [{ request_put: { key: encode(key), value: encode(holder), lease: leaseId } }],
        });
      } catch (error) {
        if (error instanceof EtcdError && error.code === etcdCode.notFound) return null; // the etcd lease is over
        throw error;
      }
      if (outcome.succeeded) return expected?.fence ?? epoch.base + outcome.revision;
      // Retried: the first attempt may have written it, or may do so yet. The holder finds it when it looks again.
      if (!outcome.retried) revoke(leaseId);
      return null;
    },
    async remove(expected, epoch) {
      const { succeeded, retried, parts } = await transact({
        compare: [isEpoch(epoch), isUnchanged(expected.key, expected.revision)],
        success: [{ request_delete_range: { key: encode(expected.key) } }],
        failure: [{ request_range: { key: encode(expected.key) } }],
      });
      // Retried: what made the comparison fail was most likely our own first attempt.
      return succeeded || (retried && keysOf(parts[0] ?? {}).length === 0);
    },
  };
}

/** A revision of 0 means that the key is not there. */
function isUnchanged(key: Buffer, revision: bigint): object {
  return { target: 'MOD', key: encode(key), result: 'EQUAL', mod_revision: revision.toString() };
}

function keysOf(part: JsonObject): KeyValue[] {
  return ((part['response_range'] as { kvs?: KeyValue[] } | undefined)?.kvs ?? []) as KeyValue[];
}

function readEpoch(found: KeyValue, epochKey: string): Epoch {
  const text = Buffer.from(found.value ?? '', 'base64').toString();
  if (!/^[0-9]{1,18}$/.test(text))
    throw unavailable(`the key ${epochKey} in etcd is not a number; choose another prefix`);
  return { base: BigInt(text), revision: BigInt(found.mod_revision) };
}

function toRecord(found: KeyValue, epoch: Epoch): KeyRecord {
  return {
    key: Buffer.from(found.key, 'base64'),
    holder: Buffer.from(found.value ?? '', 'base64').toString(),
    fence: epoch.base + BigInt(found.create_revision),
    revision: BigInt(found.mod_revision),
    leaseId: found.lease ?? '0',
  };
}

/** The first key after all that begin with the text; it never ends in 0xff, which is not UTF-8. */
function endOf(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1]!++;
  return end;
}
