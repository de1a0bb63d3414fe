/**
 * What the answers of independent masters amount to, pure. There is an odd number of them; what a majority says counts, and two
 * majorities always have a master in common.
 */
import type { LeaseGrant, LeaseHolder } from '#core';

/** What one master said about one lease. */
export type Answer =
  /** Done, under this fence (each master has its own until they have agreed). */
  | { readonly type: 'done'; readonly fence: bigint; readonly expiresInMs: number }
  /** Somebody has it. */
  | {
      readonly type: 'held';
      readonly fence: bigint;
      readonly expiresInMs: number;
      readonly holder: string;
    }
  | { readonly type: 'absent' }
  /** It lost its memory lately and takes no part. */
  | { readonly type: 'abstains'; readonly forMs: number }
  | { readonly type: 'failed'; readonly error: unknown };

type Held = Extract<Answer, { type: 'held' }>;

export interface Standing {
  readonly holder: string;
  readonly fence: bigint;
  /** How long a majority has it for certain. */
  readonly expiresInMs: number;
  readonly votes: number;
}

export const majorityOf = (masters: number): number => Math.floor(masters / 2) + 1;

/** Until when `times` keep a majority: others need one too, and get it when fewer than a majority is left. */
export function heldForMs(times: readonly number[], masters: number): number {
  const sorted = [...times].sort((a, b) => b - a);
  return Math.max(0, sorted[Math.min(majorityOf(masters), sorted.length) - 1] ?? 0);
}

/** The holding with the most masters behind it; among equals the newest. */
export function strongest(answers: readonly Answer[], masters: number): Standing | null {
  const groups = new Map<string, Held[]>();
  for (const answer of answers) {
    if (answer.type !== 'held') continue;
    const key = `${answer.fence}:${answer.holder}`;
    groups.set(key, [...(groups.get(key) ?? []), answer]);
  }
  let best: Standing | null = null;
  for (const group of groups.values()) {
    const { holder, fence } = group[0]!;
    const votes = group.length;
    const times = group.map(answer => answer.expiresInMs);
    const standing = { holder, fence, votes, expiresInMs: heldForMs(times, masters) };
    if (!best || votes > best.votes || (votes === best.votes && fence > best.fence)) best = standing;
  }
  return best;
}

export function failures(answers: readonly Answer[]): number {
  return answers.filter(answer => answer.type === 'failed').length;
}

/** Too many masters did not answer for anything to be certain. */
export function isUnanswered(answers: readonly Answer[], masters: number): boolean {
  return masters - failures(answers) < majorityOf(masters);
}

/**
 * The live holder: whoever has a majority, or may have one when masters that did not answer are counted in. Acting on a presence
 * that is none costs time; acting on an absence that is none costs exclusiveness.
 */
export function liveHolder(name: string, answers: readonly Answer[], masters: number): LeaseHolder | null {
  const best = strongest(answers, masters);
  if (!best || best.votes + failures(answers) < majorityOf(masters)) return null;
  const { holder, fence, expiresInMs } = best;
  return { name, holder, fence, expiresInMs };
}

/** What a refused caller is told: whose it is, as far as is known; or how long the masters stay out of it. */
export function refusal(answers: readonly Answer[], masters: number): LeaseGrant {
  const best = strongest(answers, masters);
  if (best) {
    const { holder, fence, expiresInMs } = best;
    return { acquired: false, holder, fence, expiresInMs };
  }
  const waits = answers.flatMap(answer => (answer.type === 'abstains' ? [answer.forMs] : []));
  return { acquired: false, holder: null, fence: null, expiresInMs: Math.max(0, ...waits) };
}

/** How many said no for certain. */
export function denials(answers: readonly Answer[]): number {
  return answers.filter(answer => answer.type === 'held' || answer.type === 'absent').length;
}

/** What those who did it said. */
export function doneAnswers(answers: readonly Answer[]): Extract<Answer, { type: 'done' }>[] {
  return answers.filter(answer => answer.type === 'done');
}
