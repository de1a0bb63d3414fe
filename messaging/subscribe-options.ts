/** Options of a subscription: checked, with their defaults. And what a failed attempt leads to, which they decide. */
import { HoldfastError, type Message, type SubscribeOptions } from '#core';

export interface SubscriptionPlan {
  group: string;
  concurrency: number;
  maxDeliver: number;
  backoff: { firstMs: number; maxMs: number };
  deadLetter: boolean;
  ackWaitMs: number;
  orderBy: ((message: Message) => string) | null;
  prefetch: number;
}

export type Verdict = { type: 'retry'; afterMs: number } | { type: 'bury' } | { type: 'drop' };

const groupForm = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/;

/** @throws HoldfastError HF_REQUEST_INVALID */
export function planSubscription(options: SubscribeOptions, instanceId: string): SubscriptionPlan {
  const { group = instanceId, backoff = { firstMs: 1_000, maxMs: 60_000 }, orderBy = null } = options;
  if (!groupForm.test(group)) {
    throw invalid('group', group, 'a name of 1 to 64 letters, digits, dots, dashes and underscores');
  }
  const concurrency = within('concurrency', options.concurrency ?? 1, 1, 1_000);
  return {
    group,
    concurrency,
    maxDeliver: within('maxDeliver', options.maxDeliver ?? 5, 1, 1_000),
    backoff: {
      firstMs: within('backoff.firstMs', backoff.firstMs, 0, 3_600_000),
      maxMs: within('backoff.maxMs', backoff.maxMs, 0, 3_600_000),
    },
    deadLetter: options.deadLetter ?? true,
    ackWaitMs: within('ackWaitMs', options.ackWaitMs ?? 30_000, 1_000, 3_600_000),
    orderBy,
    // One in hand while another is fetched. Lanes need more: a long one shall not keep the others empty.
    prefetch: concurrency * (orderBy ? 8 : 2),
  };
}

/** What becomes of a message whose attempt with this number (the first is 1) has failed. `fraction`: random, in [0, 1). */
export function afterFailure(
  plan: Pick<SubscriptionPlan, 'maxDeliver' | 'backoff' | 'deadLetter'>,
  attempt: number,
  fraction: number,
): Verdict {
  if (attempt >= plan.maxDeliver) return { type: plan.deadLetter ? 'bury' : 'drop' };
  const { firstMs, maxMs } = plan.backoff;
  const pauseMs = Math.min(maxMs, firstMs * 2 ** Math.min(attempt - 1, 30));
  return { type: 'retry', afterMs: Math.round(pauseMs * (0.75 + fraction / 4)) };
}

function within(name: string, value: number, min: number, max: number): number {
  if (Number.isFinite(value) && value >= min && value <= max) return Math.floor(value);
  throw invalid(name, value, `a number from ${min} to ${max}`);
}

function invalid(path: string, value: unknown, expected: string): HoldfastError {
  return new HoldfastError(
    'HF_REQUEST_INVALID',
    `the subscription's ${path} is ${String(value)}; expected: ${expected}`,
    {
      details: { problems: [{ path, value, expected }] },
    },
  );
}
