/**
 * Leases on one Redis master, or on an odd number of independent ones, by the redlock library and what it lacks: holders, fences,
 * and no trust in the client's wall clock. What is done, why it is safe and what is assumed: docs/leases.md.
 *
 * A lease is taken in two rounds (in one, if there is one master): redlock gets it from a majority, each master under the next fence
 * of its own; then a majority is given the highest of these. So every later holding, which needs a master of that majority, gets a
 * higher one. Nothing counts before.
 */
import type { Redis } from 'ioredis';
import { HoldfastError, type LeaseGrant, type System } from '#core';
import { completeLeases } from '../complete.ts';
import type { LeaseStore } from '../store.ts';
import { checkLeaseArguments, checkListQuery } from '../validation.ts';
import { createChangeHint } from './change-hint.ts';
import { gather } from './gather.ts';
import { leaseKeys, type LeaseKeys } from './keys.ts';
import { listLeases } from './list.ts';
import { connectMaster, script, useMaster, type Master } from './masters.ts';
import * as lua from './scripts.lua.ts';
import {
  denials,
  doneAnswers,
  heldForMs,
  isUnanswered,
  liveHolder,
  majorityOf,
  refusal,
  strongest,
  type Answer,
} from './tally.ts';
import { holdVote, toAnswer, type Vote, type VoteResult } from './vote.ts';

export interface RedisLeasesOptions {
  system: System;
  /** `redis://[user:password@]host:port[/database]`, or `rediss:`, one for each independent master: an odd number of them. */
  urls?: readonly string[];
  /** Ready clients of ioredis instead; they are left open, and connections like them are made for `watch`. */
  clients?: readonly Redis[];
  /** What all keys begin with, default `holdfast:`. No prefix in use should begin with another one. */
  prefix?: string;
  /** How long a master may take to answer, milliseconds, default 1000. */
  callTimeoutMs?: number;
}

/** More than anybody needs, and few enough to ask them all at every call. */
const mastersMax = 9;
/** Candidates that split the votes try again after a random pause that grows. */
const attemptsMax = 8;
const splitPauseMs = { first: 10, max: 100 };

const scripts = {
  acquire: script(lua.acquireScript),
  settle: script(lua.settleScript),
  extend: script(lua.extendScript),
  release: script(lua.releaseScript),
  inspect: script(lua.inspectScript),
  list: script(lua.listScript),
  remembers: script(lua.remembersScript),
  remember: script(lua.rememberScript),
};

/**
 * Connects to the masters.
 * @throws HoldfastError HF_LEASE_INVALID for bad options; HF_COORDINATION_UNAVAILABLE when no majority of the masters answers
 */
export async function openRedisLeases(options: RedisLeasesOptions): Promise<LeaseStore> {
  const { system, prefix = 'holdfast:', callTimeoutMs: timeoutMs = 1_000 } = options;
  checkMasters(options);
  checkListQuery({ prefix });
  const connecting = { system, timeoutMs, scripts: Object.values(scripts) };
  const masters = options.clients
    ? options.clients.map(client => useMaster(client, connecting))
    : await Promise.all(options.urls!.map(url => connectMaster(url, connecting)));
  const keys = leaseKeys(prefix);
  try {
    await beginMemory(masters, keys);
  } catch (error) {
    await Promise.all(masters.map(master => master.close()));
    throw error;
  }
  for (const master of masters) {
    // A master that was restarted without its memory must note that before anybody takes it for a new one.
    master.onReconnect(() => void master.run(scripts.remember, [keys.meta], []).catch(() => null));
  }
  return makeLeases(masters, keys, system);
}

function makeLeases(masters: readonly Master[], keys: LeaseKeys, system: System): LeaseStore {
  const size = masters.length;
  let closed = false;

  function assertOpen(): void {
    if (closed) throw new HoldfastError('HF_COORDINATION_UNAVAILABLE', 'the lease store has been closed');
  }

  function vote(name: string, operation: Vote['operation'], holder = ''): Promise<VoteResult> {
    assertOpen();
    const record = keys.record(name);
    return holdVote(masters, {
      operation,
      recordKey: record,
      calls: {
        acquire: {
          script: scripts.acquire,
          keys: [record, keys.meta, keys.names],
          parameters: [holder, name, keys.recordPrefix, keys.changes],
        },
        extend: { script: scripts.extend, keys: [record], parameters: [] },
        release: { script: scripts.release, keys: [record, keys.names], parameters: [name, keys.changes] },
      },
    });
  }

  /** Makes the masters agree on the fence of what was just taken; null when there is no majority for it any more. */
  async function settle(name: string, elected: VoteResult, holder: string): Promise<LeaseGrant | null> {
    const taken = doneAnswers(elected.answers);
    const fence = taken.reduce((highest, answer) => (answer.fence > highest ? answer.fence : highest), 0n);
    let settled = taken;
    if (size > 1) {
      const record = keys.record(name);
      const parameters = [elected.value, fence.toString(), name, keys.changes];
      const answers = await gather(
        masters,
        async master => toAnswer(await master.run(scripts.settle, [record, keys.meta], parameters)),
        soFar => doneAnswers(soFar).length >= majorityOf(size),
      );
      settled = doneAnswers(answers);
      if (settled.length < majorityOf(size)) {
        await vote(name, { type: 'release', value: elected.value });
        if (isUnanswered(answers, size)) throw unavailable(answers, size);
        return null;
      }
    }
    const times = settled.map(answer => answer.expiresInMs);
    return { acquired: true, fence, expiresInMs: heldForMs(times, size), holder };
  }

  async function extend(name: string, holder: string, fence: bigint, ttlMs: number): Promise<LeaseGrant> {
    const { elected, answers } = await vote(name, { type: 'extend', value: `${fence}:${holder}`, ttlMs });
    if (elected) {
      const times = doneAnswers(answers).map(answer => answer.expiresInMs);
      return { acquired: true, fence, expiresInMs: heldForMs(times, size), holder };
    }
    if (denials(answers) < majorityOf(size)) throw unavailable(answers, size);
    const current = liveHolder(name, answers, size);
    return current
      ? { acquired: false, fence: current.fence, expiresInMs: current.expiresInMs, holder: current.holder }
      : { acquired: false, fence: null, expiresInMs: 0, holder: null };
  }

  /** One attempt; null when it makes sense to try again at once: the votes were split, or changed in between. */
  async function attempt(name: string, holder: string, ttlMs: number): Promise<LeaseGrant | null> {
    const result = await vote(name, { type: 'acquire', ttlMs }, holder);
    if (result.elected) return settle(name, result, holder);
    const { answers } = result;
    if (isUnanswered(answers, size)) throw unavailable(answers, size);
    const best = strongest(answers, size);
    if (best && best.votes >= majorityOf(size)) {
      if (best.holder !== holder) return refusal(answers, size);
      const extended = await extend(name, holder, best.fence, ttlMs);
      return extended.acquired ? extended : null;
    }
    const abstaining = answers.filter(answer => answer.type === 'abstains').length;
    return abstaining >= majorityOf(size) ? refusal(answers, size) : null;
  }

  const inspectRecord = async (master: Master, name: string) =>
    toAnswer(await master.run(scripts.inspect, [keys.record(name)], []));
  const hint = createChangeHint(masters, keys.changes);

  return completeLeases(
    {
      async tryAcquire(name, holder, ttlMs) {
        checkLeaseArguments({ name, holder, ttlMs });
        for (let tries = 1; tries < attemptsMax; tries++) {
          const grant = await attempt(name, holder, ttlMs);
          if (grant) return grant;
          const longestMs = Math.min(splitPauseMs.first * 2 ** tries, splitPauseMs.max);
          await system.timers.sleep(system.random.fraction() * longestMs);
        }
        const last = await attempt(name, holder, ttlMs);
        return last ?? refusal(await gather(masters, master => inspectRecord(master, name)), size);
      },
      async renew(name, holder, fence, ttlMs) {
        checkLeaseArguments({ name, holder, fence, ttlMs });
        return extend(name, holder, fence, ttlMs);
      },
      async release(name, holder, fence) {
        checkLeaseArguments({ name, holder, fence });
        const { elected, answers } = await vote(name, { type: 'release', value: `${fence}:${holder}` });
        if (elected) return true;
        if (denials(answers) < majorityOf(size)) throw unavailable(answers, size);
        return false;
      },
      async inspect(name) {
        checkLeaseArguments({ name });
        assertOpen();
        const answers = await gather(
          masters,
          master => inspectRecord(master, name),
          soFar =>
            (strongest(soFar, size)?.votes ?? 0) >= majorityOf(size) ||
            soFar.filter(answer => answer.type === 'absent').length >= majorityOf(size),
        );
        if (isUnanswered(answers, size)) throw unavailable(answers, size);
        return liveHolder(name, answers, size);
      },
      list: query =>
        listLeases(query, {
          masters,
          readPage(master, parameters) {
            assertOpen();
            return master.run(scripts.list, [keys.names], [keys.recordPrefix, ...parameters]);
          },
          unavailable: errors => unavailable(errors, size),
        }),
      async close() {
        closed = true;
        await Promise.all(masters.map(master => master.close()));
      },
    },
    { system, hint },
  );
}

/**
 * Masters that remember nothing, all of them, are taken for new ones. One that forgot while others remember is not: the first call that
 * reaches it makes it stay out of the votes for one time to live (`acquireScript`).
 */
async function beginMemory(masters: readonly Master[], keys: LeaseKeys): Promise<void> {
  const answers = await gather(masters, async master =>
    toAnswer(await master.run(scripts.remembers, [keys.meta], [])),
  );
  if (isUnanswered(answers, masters.length)) throw unavailable(answers, masters.length);
  if (answers.some(answer => answer.type !== 'absent')) return;
  await gather(masters, async master => toAnswer(await master.run(scripts.remember, [keys.meta], [0])));
}

function unavailable(answers: readonly Answer[], size: number): HoldfastError {
  const failed = answers.find(answer => answer.type === 'failed');
  const text = size === 1 ? 'Redis does not answer' : `no majority of the ${size} Redis masters answers`;
  return new HoldfastError('HF_COORDINATION_UNAVAILABLE', text, {
    cause: failed && withoutCommand(failed.error),
  });
}

/** ioredis's errors hold the command with its arguments, a password among them when it was AUTH. Only what was said goes on. */
function withoutCommand(error: unknown): Error {
  if (error instanceof HoldfastError) return error;
  return new Error(error instanceof Error ? error.message : 'no answer');
}

function checkMasters({ urls, clients }: RedisLeasesOptions): void {
  const given = urls ?? clients ?? [];
  const argument = urls || !clients ? 'urls' : 'clients';
  const invalid = (expected: string) =>
    new HoldfastError('HF_LEASE_INVALID', `${argument} must be ${expected}`, { details: { argument } });
  if (urls && clients) throw invalid('left out where clients are given');
  // With an even number, redlock would wait for ever when the votes are equal; and one more master makes nothing safer.
  if (given.length % 2 === 0 || given.length > mastersMax) {
    throw invalid(`an odd number of independent masters, 1 to ${mastersMax}`);
  }
  for (const url of urls ?? []) {
    if (!URL.canParse(url) || !['redis:', 'rediss:'].includes(new URL(url).protocol)) {
      throw invalid('addresses such as redis://127.0.0.1:6379');
    }
  }
}
