/**
 * Whether a deployment gets on, from what was observed and what was measured before: the health gate. Pure.
 *
 * A revision has failed when a copy of it did not start or crash-loops, for a reason that is its own, or when there is a copy of it that
 * is not well and for `deadlineMs` no further one has become available. A deployment that is held up by nodes, capacity or the
 * store waits; that is no one's failure.
 */
import type { ErrorCode } from '#core';
import type { CopyFailure, InstanceProgress } from '../planning/progress.ts';
import { earliest } from '../planning/rolling.ts';
import type { Watch } from './model.ts';

export type Verdict =
  /** `steadyMs`: for how long it has been so. */
  | { kind: 'reached'; steadyMs: number; reason: string | null }
  | { kind: 'going' }
  | { kind: 'waiting'; reason: string }
  /** `byDeadline`: it had all the time that it may have. */
  | { kind: 'failed'; reason: string; byDeadline: boolean };

/** What is the fault of a node, of the store or of this manager, and passes. */
const notOfTheRevision: ReadonlySet<ErrorCode> = new Set([
  'HF_CAPACITY',
  'HF_NODE_UNREACHABLE',
  'HF_COORDINATION_UNAVAILABLE',
  'HF_UNAVAILABLE',
  'HF_NOT_LEADER',
  'HF_LEADER_STALE',
  'HF_PACKAGE_NOT_FOUND',
  'HF_PACKAGE_CORRUPT',
  'HF_UNAUTHENTICATED',
  'HF_FORBIDDEN',
]);

/**
 * @param count how many copies are to be available: all, or so many canaries
 * @param watch what was measured of this phase so far; null: it begins now
 */
export function judge(
  progress: InstanceProgress,
  count: number | 'all',
  watch: Watch | null,
  nowMs: number,
): { verdict: Verdict; watch: Watch; dueInMs: number | null } {
  const { desired, updated, available, outdated, revision } = progress;
  const { deadlineMs } = revision.instance.update;
  const goal = count === 'all' ? desired : Math.min(count, desired);
  const reached = available >= goal && (count !== 'all' || (outdated === 0 && available >= updated));
  const beganMs = watch?.beganMs ?? nowMs;
  const faults = progress.failures.filter(
    failure => isOfTheRevision(failure) && (failure.failedAtMs ?? nowMs) >= beganMs,
  );
  const unwell = available < updated || faults.length > 0;
  const next = measured(watch, { available: Math.min(available, goal), goal, reached, unwell, nowMs });
  const failsInMs = next.unwellSinceMs === null ? null : next.unwellSinceMs + deadlineMs - nowMs;
  const waitsInMs = next.bestSinceMs + deadlineMs - nowMs;
  const pending = reached ? [] : [failsInMs ?? 0, waitsInMs].filter(leftMs => leftMs > 0);
  return { verdict: verdict(), watch: next, dueInMs: earliest(pending) };

  function verdict(): Verdict {
    const fatal = faults.find(({ kind }) => kind === 'start-failed' || kind === 'crash-loop');
    const late = failsInMs !== null && failsInMs <= 0;
    if (fatal) return { kind: 'failed', reason: inWords(fatal), byDeadline: late };
    if (reached) return { kind: 'reached', steadyMs: nowMs - (next.steadySinceMs ?? nowMs), reason: null };
    const [slow] = faults;
    if (slow && late) {
      const reason = `${inWords(slow)}, for ${Math.round(deadlineMs / 1000)} s`;
      return { kind: 'failed', reason, byDeadline: true };
    }
    if (slow || waitsInMs > 0) return { kind: 'going' };
    const [excuse] = progress.failures;
    const held = excuse
      ? inWords(excuse)
      : `${goal - Math.min(available, goal)} more copies cannot be placed or replaced now`;
    // Everything that there is a place for runs it: the rest is for the plan, which never stops trying.
    if (count === 'all' && outdated === 0 && available >= updated && updated > 0) {
      const reason = `${available} of ${desired} copies run; the others have no place: ${held}`;
      return { kind: 'reached', steadyMs: 0, reason };
    }
    return { kind: 'waiting', reason: `it waits: ${held}` };
  }
}

function measured(
  watch: Watch | null,
  seen: { available: number; goal: number; reached: boolean; unwell: boolean; nowMs: number },
): Watch {
  const { available, goal, reached, unwell, nowMs } = seen;
  const best = Math.min(watch?.best ?? available, goal);
  const better = watch === null || available > best;
  return {
    phase: watch?.phase ?? '',
    beganMs: watch?.beganMs ?? nowMs,
    best: Math.max(best, available),
    bestSinceMs: better ? nowMs : watch.bestSinceMs,
    unwellSinceMs: unwell ? (better ? nowMs : (watch.unwellSinceMs ?? nowMs)) : null,
    steadySinceMs: reached ? (watch?.steadySinceMs ?? nowMs) : null,
  };
}

function isOfTheRevision({ code }: CopyFailure): boolean {
  return code === null || !notOfTheRevision.has(code);
}

function inWords({ slot, node, kind, code, message }: CopyFailure): string {
  const what = {
    'start-failed': 'did not start',
    crashed: 'crashed',
    'crash-loop': 'crashes again and again',
    'not-ready': 'is not ready',
  }[kind];
  return `copy ${slot} on ${node} ${what}: ${code === null ? '' : `${code}: `}${message}`;
}
