/**
 * Coordination on Redis: the resource directory and the documents on the first URL, the leases on all of them (#leases).
 *
 * # Why this is safe
 *
 * The directory promises two things: that a key is given to one live session at a time, and that fences only grow. Whatever happens to
 * Redis, the second must hold for ever (with it no two owners both commit), the first while clocks keep to their bounds.
 *
 * **One step.** Each operation is one Lua script. Redis runs one at a time, and writes what a script did to its log and to its replicas as one
 * transaction, so there is no half of a claim: not after a crash, not in a copy. The record of a key and the set of what its session owns
 * change in the same step, and the count of a session's keys *is* the size of that set. What scripts decide is what
 * `ownership/directory/directory.ts` decides, and a test compares the two over random histories.
 *
 * **Live is what has not ended.** Every script first ends the sessions whose time is over, by the sorted set of their ends, before it decides
 * anything. Nothing waits for key expiry or its events, which come seconds late on a full Redis. A vanished host's keys move with the first
 * claim after its time. So that events come in time too, every client asks at least each second.
 *
 * **Redis that forgets.** A Redis that was started anew, flushed, or put in another's place by failover may know less than it had told, and
 * cannot know how much: with a log synced at every write it lost nothing, unless it is the replica, or the backup. So all of these are
 * one case. `meta` holds a nonce, drawn when the store began to remember, and which server it was. The first script on each connection
 * (`attach`) compares the server; every other script brings the nonce along. Absent or another, and the script does nothing. Attaching
 * to a server that is not the one of the record begins a new incarnation:
 *  - All sessions are over. Records of keys, as far as they are there, stay as floors: fence, opened, paused, alarm; they name
 *    sessions that do not exist.
 *  - The counter of fences goes on at no less than the nanoseconds since 1970. Counters begin there and grow by less than one a nanosecond, so this is
 *    above all that was ever given out, also to hosts that never come back. A counter that `raiseFence` had lifted beyond is lifted again by
 *    the first host that reports such a fence, and else by the resource itself, which refuses and is told a higher one.
 *  - Until `collectUntilMs` no key is given out. A grant of the old incarnation was made before this one began; its host's deadline counts
 *    from before it asked, so it passes within one longest time to live. Until then hosts bring back what they hold (`resumeSession`,
 *    `adopt`), and of two that hold one key the higher fence is right. Nothing moves; only new keys wait.
 *
 * Two clients that attach at once run one after the other: the second finds what the first has begun. A connection never outlives its server, and
 * ours never carries a command before it has attached, since each is a client object of its own that does not reconnect (`link.ts`).
 * A server that is demoted and promoted again in place has a new replication id, and refuses our scripts in between, readers included (`base.lua.ts`).
 *
 * The price: the first start on an empty Redis looks exactly like one that lost everything, so the first keys wait for one time to live (5 s by
 * default). Whoever knows that a prefix was never used could say so; nobody knows that for sure.
 *
 * **Redis's clock** is a wall clock, and scripts have no other. A jump forward would end sessions whose hosts still believe in them, a jump
 * backward keep dead ones. So the store has a time of its own, which moves on by what Redis's clock moved, but not back, and not further
 * than `aheadMaxMs` beyond what the calling client's own monotonic clock confirms: it adds what it has measured since the store last told
 * it its time. Two clocks on two machines must agree for a session to end. What is lost in a jump or a pause is lost on the safe side:
 * sessions last longer. One jump ends a session at most 200 ms early, which the host's margin covers (270 ms at a time to live of 5 s); when the
 * clock jumps just while nobody else is connected and a client attaches, it may be 1.5 s. Clocks that *run* too fast are bounded by the margin of 5 %.
 *
 * # What is not promised
 *
 * - An old master that was cut off, and goes on serving the clients on its side after a replica took its place elsewhere, is a second
 *   directory: two hosts may answer for a key until the old one is gone. They never both commit: fences of the new incarnation are higher than
 *   whatever the old master gives out. `min-replicas-to-write 1` on the master makes it refuse within `min-replicas-max-lag`, and our reads with it.
 * - Fences over a loss of memory rely on Redis's wall clock not being set back before its last start; hosts that report their fences mend it.
 * - A Redis that may evict keys (`maxmemory` without `noeviction`) would lose ownership silently; attaching to one is refused. With no memory
 *   left claims fail, renewals and releases go on.
 * - Whoever may write to the database under the prefix may give any key to anyone.
 */
import type { Coordination, DocumentStore, Logger, RedisAddress, System } from '#core';
import { openRedisLeases } from '#leases';
import { keepConnection } from './connection.ts';
import { createRedisDirectory } from './directory.ts';
import { createRedisDocuments, readDocument } from './documents.ts';
import { createWatching } from './events.ts';
import { createExpiry } from './expiry.ts';

export interface ConnectRedisOptions {
  system: System;
  log: Logger;
}

/**
 * Connects to the Redis of a cluster, and stays connected (reconnecting as often as needed) until `close`.
 * @throws HoldfastError HF_COORDINATION_UNAVAILABLE when it does not answer within a second or may not be used, without its URL
 */
export async function connectRedis(
  address: RedisAddress,
  options: ConnectRedisOptions,
): Promise<Coordination> {
  const { system, log } = options;
  const watching = createWatching({
    log,
    link: () => connection.link,
    read: name => readDocument(connection, name),
  });
  const connection = keepConnection({
    address,
    system,
    log,
    onMessage: (channel, text) => watching.onMessage(channel, text),
    prepare: link => watching.prepare(link),
    onGap: () => watching.onGap(),
  });
  const expiry = createExpiry(connection, system);
  try {
    await expiry.look();
    const leases = await openRedisLeases({ urls: address.urls, prefix: address.prefix, system });
    const directory = createRedisDirectory({
      connection,
      watching,
      system,
      sessionTtlMs: address.sessionTtlMs,
      expiryIn: ms => expiry.expect(ms),
    });
    const documents: DocumentStore = createRedisDocuments(connection, watching);
    return {
      leases,
      directory,
      documents,
      async close() {
        expiry.stop();
        connection.close();
        await leases.close();
      },
    };
  } catch (error) {
    expiry.stop();
    connection.close();
    throw error;
  }
}
