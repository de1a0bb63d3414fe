/** Waits for the deployments of a package's instances: until they have come to an end, or to where an operator decides. */
import type { MasterClient } from '#client';
import { HoldfastError, type DeploymentInfo, type MasterStatus, type System } from '#core';
import { judgeRoll, type RollOptions } from './roll.ts';

export type Reached = { status: MasterStatus } | { promote: { id: string; text: string }[] };

const pollMs = 100;
/** A failure counts when it lasts: what the status says first may be about the version before. */
const failingMs = 2_000;

/** Ids of the deployments that are over now, to be told from what a deploy begins. */
export async function endedDeployments(master: MasterClient): Promise<Set<string>> {
  const known = await master.deployments({ limit: 1_000 });
  return new Set(known.filter(({ endedAt }) => endedAt !== null).map(({ id }) => id));
}

/** @throws HoldfastError HF_START_FAILED, with what the manager says of it */
export async function follow(
  master: MasterClient,
  options: RollOptions & {
    timeoutMs: number;
    system: System;
    signal: AbortSignal;
    say: (text: string) => void;
  },
): Promise<Reached> {
  const { system, timeoutMs, say } = options;
  const { clock, timers } = system;
  const deadlineMs = clock.monotonicMs() + timeoutMs;
  let failingSinceMs: number | null = null;
  let said = '';
  for (; ; await timers.sleep(pollMs, options.signal)) {
    const late = clock.monotonicMs() >= deadlineMs;
    const seen = await lookUnless(late, master);
    if (!seen) continue;
    const roll = judgeRoll(seen.status, seen.deployments, options);
    if (roll.state === 'done') return { status: seen.status };
    if (roll.state === 'canary') return { promote: roll.promote };
    const text = roll.state === 'failed' ? roll.reason : roll.progress;
    failingSinceMs = roll.state === 'failed' ? (failingSinceMs ?? clock.monotonicMs()) : null;
    const failed =
      roll.state === 'failed' &&
      (!roll.lasts || clock.monotonicMs() - (failingSinceMs ?? Infinity) >= failingMs);
    if (failed) throw new HoldfastError('HF_START_FAILED', `the deployment failed: ${text}`);
    if (late) {
      throw new HoldfastError(
        'HF_START_FAILED',
        `it does not run everywhere after ${timeoutMs / 1000} s (${text}); see: holdfast status`,
      );
    }
    if (roll.state === 'going' && text !== said) say((said = text));
  }
}

/** What the master shows; null when it is away for a moment, as it is between two leaders, and there is time left. */
async function lookUnless(
  late: boolean,
  master: MasterClient,
): Promise<{ status: MasterStatus; deployments: DeploymentInfo[] } | null> {
  try {
    const status = await master.status();
    return { status, deployments: await master.deployments() };
  } catch (error) {
    if (late || !(error instanceof HoldfastError) || !error.retryable) throw error;
    return null;
  }
}

/** Milliseconds. @throws HoldfastError HF_USAGE */
export function parseTimeout(text: string): number {
  if (/^[1-9][0-9]{0,4}$/.test(text)) return Number(text) * 1000;
  throw new HoldfastError('HF_USAGE', `--timeout is "${text}", expected seconds`);
}
