/** The part of the host's REST API that moves keys: what an operator's move, release or pause, or a rebalance, asks of the owner. */
import { HoldfastError, parseFence, type Claim, type Fence, type ResourceKey, type SessionId } from '#core';
import type { Api } from '#http-api';
import type { HostApiOptions } from './api.ts';

type HandOffBody = {
  key?: string;
  fence?: string;
  count?: number;
  to?: string | null;
  release?: boolean;
  deadlineMs?: number;
};

const path = '/api/componentHost/resources/handoff';
const deadlineMsDefault = 10_000;

const bodySchema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    key: { type: 'string', minLength: 1, maxLength: 1_024, description: 'The key to move; or say how many.' },
    fence: {
      type: 'string',
      pattern: '^[1-9][0-9]{0,18}$',
      description: 'Under which the caller knows the host to own the key; default: whichever it is.',
    },
    count: {
      type: 'integer',
      minimum: 1,
      maximum: 1_000,
      description: 'Move up to so many keys, the longest idle first.',
    },
    to: { type: ['string', 'null'], minLength: 1, description: 'The session to get it; null: least keys.' },
    release: { type: 'boolean', description: 'Give the key back, to whoever asks for it next.' },
    deadlineMs: {
      type: 'integer',
      minimum: 0,
      maximum: 600_000,
      description: 'After so long, requests in flight are broken off. Default 10000.',
    },
  },
} as const;

export function registerResourceRoutes(app: Api, { workload, system }: HostApiOptions): void {
  app.post<{ Body: HandOffBody }>(
    path,
    {
      config: { scope: 'deploy' },
      schema: {
        summary: 'Finish, close and hand one key, or some keys, to another host of the pool',
        body: bodySchema,
      } as object,
    },
    async ({ body }) => {
      const { key, count, to = null, deadlineMs = deadlineMsDefault } = body;
      if ((key === undefined) === (count === undefined)) throw invalid('$', 'either key or count');
      if (count !== undefined && body.fence !== undefined) throw invalid('$.fence', 'nothing beside count');
      if (body.release && (count !== undefined || to !== null)) {
        throw invalid('$.release', 'neither count nor to beside it');
      }
      const { guard } = workload;
      const late = new AbortController();
      const cancel = system.timers.after(deadlineMs, () => late.abort());
      const target = to as SessionId | null;
      try {
        if (count !== undefined) {
          const moved = await guard.handOffMany({ count, to: target }, late.signal);
          return { moved: moved.map(one => ({ key: one.key, claim: one.claim && describe(one.claim) })) };
        }
        const fence = body.fence === undefined ? {} : { fence: fenceOf(body.fence) };
        const request = {
          key: key as ResourceKey,
          ...fence,
          to: body.release ? ('nobody' as const) : target,
        };
        const outcome = await guard.handOff(request, late.signal);
        return { moved: outcome.moved, claim: outcome.claim && describe(outcome.claim) };
      } finally {
        cancel();
      }
    },
  );
}

function fenceOf(text: string): Fence {
  try {
    return parseFence(text);
  } catch {
    throw invalid('$.fence', 'a fence below 2^63, as a string of digits'); // the only way to fail
  }
}

/** JSON has no integers of that size. */
function describe(claim: Claim) {
  return { ...claim, fence: claim.fence.toString() };
}

function invalid(at: string, expected: string): HoldfastError {
  return new HoldfastError('HF_REQUEST_INVALID', `the body is wrong: ${at} expected ${expected}`, {
    details: { in: 'body', problems: [{ path: at, expected }] },
  });
}
