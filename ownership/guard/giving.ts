/**
 * Gives keys back and hands them to others, as the directory's share of it. Releases that fall due while one is being answered go
 * together in the next call: a host that closes a thousand idle keys needs a few round trips. What is not answered is asked
 * again, after a pause that grows.
 */
import type { Claim, Fence, InstanceId, Logger, ResourceDirectory, SessionId, System } from '#core';
import type { GuardEffect, GuardEvent } from './step.ts';

export type GivingEffect = Extract<GuardEffect, { type: 'release' | 'transfer' }>;

export interface GivingPorts {
  system: System;
  directory: ResourceDirectory;
  pool: InstanceId;
  log: Logger;
  /** The session under which the host holds its keys, null when it has lost it. */
  heldSession: () => SessionId | null;
  dispatch: (event: GuardEvent) => void;
}

const batchMax = 1_000;
const pauseMs = { first: 50, max: 1_000 };

export function createGiving(ports: GivingPorts): (effect: GivingEffect) => void {
  const { system, directory, pool, log, heldSession, dispatch } = ports;
  const queue: Extract<GivingEffect, { type: 'release' }>[] = [];
  let releasing = false;

  async function releaseAll(): Promise<void> {
    if (releasing) return;
    releasing = true;
    try {
      for (let batch = queue.splice(0, batchMax); batch.length > 0; batch = queue.splice(0, batchMax)) {
        const answered = await releaseBatch(batch);
        const type = answered ? 'released' : 'unanswered';
        for (const { key, openId } of batch) dispatch({ type, key, openId });
      }
    } finally {
      releasing = false;
    }
  }

  async function releaseBatch(batch: typeof queue): Promise<boolean> {
    const sessionId = heldSession();
    if (!sessionId) return true; // with the session all its keys are free
    const holdings = batch.map(({ key, fence }) => ({ pool, key, sessionId, fence }));
    try {
      if (holdings.length === 1) await directory.release(holdings[0]!);
      else await directory.releaseMany(holdings);
      return true;
    } catch (error) {
      log.warn({ err: error, keys: holdings.length }, 'keys could not be given back yet');
      return false;
    }
  }

  async function transfer(effect: Extract<GivingEffect, { type: 'transfer' }>): Promise<void> {
    const { key, openId } = effect;
    let event: GuardEvent;
    try {
      event = { type: 'transferred', key, openId, outcome: await handOver(effect) };
    } catch (error) {
      log.warn({ err: error, key }, 'the key could not be handed over yet');
      event = { type: 'unanswered', key, openId };
    }
    dispatch(event);
  }

  async function handOver({ key, fence, to, attempt }: Extract<GivingEffect, { type: 'transfer' }>) {
    const sessionId = heldSession();
    if (!sessionId) return { held: false } as const;
    const holding = { pool, key, sessionId, fence };
    const outcome =
      to === 'nobody' ? givenBack(await directory.release(holding)) : await directory.transfer(holding, to);
    if (outcome.held || attempt === 1) return outcome;
    // An earlier try may have done it, whose answer was lost.
    const claim = await directory.lookup(pool, key);
    if (to === 'nobody' && claim === null) return givenBack(true);
    return isSuccessor(claim, { sessionId, fence }) ? ({ held: true, claim } as const) : outcome;
  }

  return effect => {
    const perform = () => {
      if (effect.type === 'transfer') return void transfer(effect);
      queue.push(effect);
      void releaseAll();
    };
    if (effect.attempt === 1) perform();
    else system.timers.after(Math.min(pauseMs.first * 2 ** (effect.attempt - 2), pauseMs.max), perform);
  };
}

function givenBack(held: boolean): { held: true; claim: null } | { held: false } {
  return held ? { held, claim: null } : { held };
}

function isSuccessor(claim: Claim | null, held: { sessionId: SessionId; fence: Fence }): boolean {
  return claim !== null && claim.sessionId !== held.sessionId && claim.fence > held.fence;
}
