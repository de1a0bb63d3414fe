/** The guard's calls to the directory: each effect that asks it something, and the event that its answer becomes. */
import {
  HoldfastError,
  type Claim,
  type HeldKey,
  type Logger,
  type OpenSession,
  type ResourceDirectory,
  type SessionId,
  type System,
} from '#core';
import { createGiving } from './giving.ts';
import type { GuardEffect, GuardEvent } from './step.ts';

export interface DirectoryCalls {
  perform(effect: DirectoryEffect): void;
  /** Rejects when the directory did not hear. */
  tellReady(ready: boolean): Promise<void>;
  /** Why the last try to open a session failed. */
  readonly lastOpenError: unknown;
  readonly renewalFailures: number;
}

export type DirectoryEffect = Extract<
  GuardEffect,
  {
    type:
      | 'open-session'
      | 'renew-session'
      | 'mark-draining'
      | 'close-session'
      | 'discard-session'
      | 'verify'
      | 'raise'
      | 'confirm'
      | 'release'
      | 'transfer'
      | 'resume-session';
  }
>;
type Effect<Type extends DirectoryEffect['type']> = Extract<DirectoryEffect, { type: Type }>;
type KeyQuestion = Extract<DirectoryEffect, { type: 'verify' | 'raise' | 'confirm' }>;

export interface DirectoryCallsPorts {
  system: System;
  directory: ResourceDirectory;
  session: Omit<OpenSession, 'attempt' | 'endEarlier'>;
  log: Logger;
  /** The session under which the host may act at this moment. */
  heldSession: () => SessionId | null;
  /** The alarm that this opening has set, epoch milliseconds; null: none that it knows of. */
  alarmOf: (openId: number) => number | null;
  dispatch: (event: GuardEvent) => void;
}

/** Keys in one call, see `ResourceDirectory`. */
const adoptMax = 1_000;

export function createDirectoryCalls(ports: DirectoryCallsPorts): DirectoryCalls {
  const { directory, log, dispatch, heldSession } = ports;
  const { pool } = ports.session;
  const give = createGiving({ ...ports, pool });
  let lastOpenError: unknown = null;
  let renewalFailures = 0;

  /** Every question ends in exactly one event; what goes wrong while that is handled is not the directory's failure. */
  async function tell(
    answer: () => Promise<GuardEvent>,
    failed: (error: unknown) => GuardEvent,
  ): Promise<void> {
    let event: GuardEvent;
    try {
      event = await answer();
    } catch (error) {
      event = failed(error);
    }
    dispatch(event);
  }

  const open = ({ sentAtMs, attempt, clean }: Effect<'open-session'>) =>
    tell(
      async () => {
        const granted = await directory.openSession({ ...ports.session, attempt, endEarlier: clean });
        return { type: 'session-opened', sentAtMs, ...granted };
      },
      error => {
        lastOpenError = error;
        log.warn({ err: error }, 'no session could be opened');
        return { type: 'session-open-failed', sentAtMs };
      },
    );

  const renew = (sessionId: SessionId, sentAtMs: number) =>
    tell(
      async () => {
        const renewed = await directory.renewSession(sessionId);
        return { type: 'session-renewed', sessionId, sentAtMs, ...renewed };
      },
      error => {
        renewalFailures++;
        log.warn({ err: error, sessionId }, 'the session could not be renewed');
        return { type: 'session-renewal-failed', sessionId, sentAtMs };
      },
    );

  const markDraining = (sessionId: SessionId) =>
    tell(
      async () => {
        const alive = await directory.updateSession(sessionId, { draining: true });
        return { type: 'session-marked', sessionId, alive };
      },
      error => {
        log.warn({ err: error, sessionId }, 'draining could not be announced');
        return { type: 'session-marked', sessionId, alive: null };
      },
    );

  const close = (sessionId: SessionId) =>
    tell(
      async () => {
        await directory.closeSession(sessionId);
        return { type: 'session-closed', sessionId };
      },
      error => {
        log.warn({ err: error, sessionId }, 'the session could not be closed; it will expire');
        return { type: 'session-closed', sessionId };
      },
    );

  const resume = ({ held, sentAtMs, attempt }: Effect<'resume-session'>) =>
    tell(
      async () => {
        const keys = held.map(({ key, fence, opened, openId }): HeldKey => {
          return { key, fence, opened, alarmAtMs: ports.alarmOf(openId) };
        });
        const request = { ...ports.session, attempt };
        const granted = await directory.resumeSession(request, keys.slice(0, adoptMax));
        const refused = [...granted.refused];
        for (let start = adoptMax; start < keys.length; start += adoptMax) {
          refused.push(...(await directory.adopt(granted.sessionId, keys.slice(start, start + adoptMax))));
        }
        const { sessionId, expiresInMs } = granted;
        return { type: 'session-resumed', sentAtMs, sessionId, expiresInMs, refused };
      },
      error => {
        log.warn({ err: error, keys: held.length }, 'no session could be had in place of the lost one');
        // Whatever is no sign of a store that cannot be asked is its answer.
        const refused = error instanceof HoldfastError && error.code !== 'HF_COORDINATION_UNAVAILABLE';
        return { type: 'session-resume-failed', sentAtMs, refused };
      },
    );

  const ask = (effect: KeyQuestion) =>
    tell(
      () => answer(effect),
      error => {
        const { key, openId } = effect;
        log.warn({ err: error, key, asked: effect.type }, 'the directory could not be asked');
        return { type: 'failed', key, openId, error };
      },
    );

  async function answer(effect: KeyQuestion): Promise<GuardEvent> {
    const { key, openId } = effect;
    const sessionId = heldSession();
    const verdict = (claim: Claim | null) => (claim?.sessionId === sessionId ? claim : null);
    switch (effect.type) {
      case 'verify':
        return { type: 'verified', key, openId, verdict: verdict(await directory.lookup(pool, key)) };
      case 'raise': {
        const raised = sessionId && (await directory.raiseFence({ pool, key, sessionId }, effect.above));
        return { type: 'raised', key, openId, verdict: verdict(raised) };
      }
      case 'confirm': {
        if (!sessionId) return { type: 'confirmed', key, openId, owned: false };
        const held = { pool, key, sessionId, fence: effect.fence };
        return { type: 'confirmed', key, openId, owned: await directory.confirmOpened(held) };
      }
    }
  }

  return {
    perform(effect) {
      switch (effect.type) {
        case 'open-session':
          return void open(effect);
        case 'renew-session':
          return void renew(effect.sessionId, effect.sentAtMs);
        case 'mark-draining':
          return void markDraining(effect.sessionId);
        case 'close-session':
        case 'discard-session':
          return void close(effect.sessionId);
        case 'resume-session':
          return void resume(effect);
        case 'release':
        case 'transfer':
          return give(effect);
        default:
          return void ask(effect);
      }
    },
    async tellReady(ready) {
      const sessionId = heldSession();
      // Without a session there is nothing to tell: the next one will be told.
      if (sessionId) await directory.updateSession(sessionId, { ready });
    },
    get lastOpenError() {
      return lastOpenError;
    },
    get renewalFailures() {
      return renewalFailures;
    },
  };
}
