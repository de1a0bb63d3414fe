/**
 * Reading what a client sent. Clients are processes of the same user, but a defect in one of them must not put nonsense into
 * the store of all: every argument is checked for type and size, and refused with HF_REQUEST_INVALID.
 */
import {
  HoldfastError,
  LIMITS,
  type HeldKey,
  type Holding,
  type KeyRecord,
  type OpenSession,
  type ResourceKey,
} from '#core';
import { checkReportedFence } from './fence-counter.ts';
import { decodeFence, decodeRecordFence } from './wire.ts';

/** The parameters of one call, by name. */
export type Params = Readonly<Record<string, unknown>>;

const nameBytesMax = 256;
const keysMax = 1_000;

/** Text of 1 to `bytesMax` bytes, under a branded or plain string type. */
export function text<T extends string>(params: Params, name: string, bytesMax: number = nameBytesMax): T {
  const value = params[name];
  const usable =
    typeof value === 'string' &&
    value.length > 0 &&
    value.length <= bytesMax &&
    Buffer.byteLength(value) <= bytesMax &&
    value.isWellFormed() && // a lone surrogate has no UTF-8 form: stored, it would name another key
    !value.includes('\0');
  if (!usable) throw invalid(name, `text of 1 to ${bytesMax} bytes`);
  return value as T;
}

export function resourceKey(params: Params, name = 'key'): ResourceKey {
  return text(params, name, LIMITS.keyBytesMax);
}

export function resourceKeys(params: Params): ResourceKey[] {
  return list(params, 'keys').map(key => resourceKey({ keys: key }, 'keys'));
}

export function holding(params: Params): Holding {
  return {
    pool: text(params, 'pool'),
    key: resourceKey(params),
    sessionId: text(params, 'sessionId'),
    fence: decodeFence(params['fence']),
  };
}

export function holdings(params: Params): Holding[] {
  return list(params, 'holdings').map(each => holding(record(each, 'holdings')));
}

export function heldKeys(params: Params): HeldKey[] {
  return list(params, 'held').map(each => {
    const held = record(each, 'held');
    return {
      key: resourceKey(held),
      fence: decodeFence(held['fence']),
      opened: flag(held, 'opened'),
      alarmAtMs: optional(held, 'alarmAtMs', time),
    };
  });
}

/** @throws HoldfastError HF_REQUEST_INVALID also for a fence that nobody can have given out: the counter would follow it */
export function keyRecords(params: Params): KeyRecord[] {
  return list(params, 'records').map(each => {
    const told = record(each, 'records');
    const fence = decodeRecordFence(told['fence']);
    checkReportedFence(fence);
    return {
      pool: text(told, 'pool'),
      key: resourceKey(told),
      fence,
      opened: flag(told, 'opened'),
      paused: flag(told, 'paused'),
      alarmAtMs: optional(told, 'alarmAtMs', time),
    };
  });
}

/** Milliseconds since 1970, as far as dates go. */
export function time(params: Params, name: string): number {
  return number(params, name, { min: 0, max: 8.64e15 });
}

/** A present and true flag; absent is false. */
export function flag(params: Params, name: string): boolean {
  return optionalFlag(params, name) ?? false;
}

export function optionalFlag(params: Params, name: string): boolean | undefined {
  const value = params[name] ?? undefined;
  if (value !== undefined && typeof value !== 'boolean') throw invalid(name, 'true or false');
  return value;
}

export function optional<T>(
  params: Params,
  name: string,
  read: (params: Params, name: string) => T,
): T | null {
  return params[name] === undefined || params[name] === null ? null : read(params, name);
}

export function number(params: Params, name: string, bounds: { min: number; max: number }): number {
  const value = params[name];
  if (typeof value !== 'number' || !(value >= bounds.min && value <= bounds.max)) {
    throw invalid(name, `a number from ${bounds.min} to ${bounds.max}`);
  }
  return value;
}

export function openSession(params: Params): OpenSession {
  return {
    pool: text(params, 'pool'),
    processId: text(params, 'processId'),
    nodeName: text(params, 'nodeName'),
    address: text(params, 'address'),
    ownsResources: flag(params, 'ownsResources'),
    capacity: number(params, 'capacity', { min: 1, max: 1_000_000 }),
    ttlMs: number(params, 'ttlMs', { min: LIMITS.sessionTtlMsMin, max: LIMITS.sessionTtlMsMax }),
    attempt: attempt(params),
    endEarlier: flag(params, 'endEarlier'),
  };
}

function attempt(params: Params): number {
  const value = params['attempt'];
  if (!Number.isSafeInteger(value) || (value as number) < 1)
    throw invalid('attempt', 'a whole number from 1 on');
  return value as number;
}

function list(params: Params, name: string): unknown[] {
  const value = params[name];
  if (!Array.isArray(value) || value.length > keysMax) throw invalid(name, `a list of at most ${keysMax}`);
  return value;
}

function record(value: unknown, name: string): Params {
  if (typeof value !== 'object' || value === null) throw invalid(name, 'a list of objects');
  return value as Params;
}

/** The cursor of a list: the last place given out, opaque to clients. */
export function formatCursor(place: { key: string; pool: string }): string {
  return Buffer.from(JSON.stringify([place.key, place.pool])).toString('base64url');
}

export function cursor(params: Params, name: string): { key: string; pool: string } {
  try {
    const place: unknown = JSON.parse(Buffer.from(text<string>(params, name, 8_192), 'base64url').toString());
    if (Array.isArray(place) && typeof place[0] === 'string' && typeof place[1] === 'string') {
      return { key: place[0], pool: place[1] };
    }
  } catch {
    // Told below, in one way for all that is not a cursor.
  }
  throw invalid(name, 'the cursor of the page before');
}

export function invalid(argument: string, expected: string): HoldfastError {
  return new HoldfastError('HF_REQUEST_INVALID', `${argument} must be ${expected}`, {
    details: { argument },
  });
}
