/**
 * Calls between resources, as one host makes, receives and wakes them. What it takes to reach other hosts is loaded with the first
 * call or the first due alarm: a component that never calls costs nothing but a context for each request.
 */
import {
  HoldfastError,
  type Coordination,
  type InstanceId,
  type Logger,
  type RemoteResource,
  type System,
} from '#core';
import { canonicalKeyOfText } from '#ownership';
import { channelLine } from '../channel-lines.ts';
import { startAlarms, type Alarm, type Alarms } from './alarms.ts';
import type { Caller } from './caller.ts';
import { createIncoming, type Incoming } from './incoming.ts';
import type { Reach } from './reach.ts';

export interface CallsDeps {
  system: System;
  log: Logger;
  coordination: Pick<Coordination, 'directory' | 'leases'>;
  clusterSecret: string;
  processId: string;
  pool: InstanceId;
  /** Requests served at once per key; 0 means no bound. */
  concurrency: number;
}

export interface Calls {
  readonly incoming: Incoming;
  /** @throws HoldfastError HF_KEY_INVALID */
  resource(instanceId: string, key: string): RemoteResource;
  /** From now on this host wakes the pool's alarms, whenever no other one does. Idempotent. */
  startAlarms(): void;
  stopAlarms(): Promise<void>;
  /** Ends alarms and all calls under way. Idempotent. */
  stop(): Promise<void>;
}

interface Means {
  reach: Reach;
  caller: Caller;
}

export function createCalls(deps: CallsDeps): Calls {
  const { system, log, coordination, clusterSecret, pool } = deps;
  let means: Promise<Means> | null = null;
  let alarms: Alarms | null = null;
  let stopped = false;

  async function load(): Promise<Means> {
    const [{ createReach }, { createCaller }] = await Promise.all([
      import('./reach.ts'),
      import('./caller.ts'),
    ]);
    const reach = createReach({ system, log, directory: coordination.directory, clusterSecret });
    return { reach, caller: createCaller({ system, reach }) };
  }

  async function caller(): Promise<Caller> {
    if (stopped)
      throw new HoldfastError('HF_UNAVAILABLE', 'the component has stopped; it makes no calls any more');
    means ??= load();
    return (await means).caller;
  }

  async function wake({ key, atMs }: Alarm, signal: AbortSignal): Promise<void> {
    const request = new Request('http://resource/', { method: 'POST', signal });
    const channel = channelLine('alarm', String(atMs));
    const response = await (await caller()).fetch({ pool, key }, { request, whole: null, channel });
    const text = await response.text();
    if (!response.ok) throw new HoldfastError('HF_COMPONENT_FAILED', text.slice(0, 1_000));
  }

  async function stopAlarms(): Promise<void> {
    const running = alarms;
    alarms = null;
    await running?.stop();
  }

  return {
    incoming: createIncoming(deps),
    resource(instanceId, key) {
      const target = { pool: instanceId as InstanceId, key: canonicalKeyOfText(key) };
      return {
        async fetch(input, init) {
          const message = messageOf(input, init);
          return (await caller()).fetch(target, message);
        },
      };
    },
    startAlarms() {
      alarms ??= startAlarms({
        system,
        log,
        pool,
        holder: deps.processId,
        leases: coordination.leases,
        directory: coordination.directory,
        wake,
      });
    },
    stopAlarms,
    async stop() {
      stopped = true;
      await stopAlarms();
      const made = means;
      means = null;
      (await made)?.reach.stop();
    },
  };
}

/** A body that is known as a whole can be sent again however often it takes. */
function messageOf(
  input: Request | string | URL,
  init: RequestInit | undefined,
): { request: Request; whole: Buffer | null } {
  const named = typeof input === 'string' || input instanceof URL;
  const body = init?.body ?? null;
  const options = body instanceof ReadableStream ? { duplex: 'half' as const, ...init } : init;
  const request = named
    ? new Request(new URL(input, 'http://resource'), options)
    : options
      ? new Request(input, options)
      : input;
  if (typeof body === 'string') return { request, whole: Buffer.from(body) };
  if (body instanceof ArrayBuffer) return { request, whole: Buffer.from(body) };
  if (ArrayBuffer.isView(body)) {
    return { request, whole: Buffer.from(body.buffer, body.byteOffset, body.byteLength) };
  }
  return { request, whole: null };
}
