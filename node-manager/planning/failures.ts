/** What failed is tried again later and later, not at once. Pure. */
import type { HoldfastError } from '#core';
import type { Action, Failure } from './model.ts';

const firstMs = 500;
const longestMs = 30_000;

/** The failure to remember after another failed attempt of the action. */
export function nextFailure(
  before: Failure | undefined,
  action: Action,
  error: HoldfastError,
  nowMs: number,
): Failure {
  const attempts = (before?.attempts ?? 0) + 1;
  return {
    node: action.node,
    code: error.code,
    message: error.message,
    attempts,
    retryAtMs: nowMs + pauseMs(attempts),
  };
}

/** When the action was tried last. */
export function failedAtMs({ retryAtMs, attempts }: Failure): number {
  return retryAtMs - pauseMs(attempts);
}

function pauseMs(attempts: number): number {
  return Math.min(longestMs, firstMs * 2 ** (attempts - 1));
}

/** Failures of actions that were not asked for again for long are forgotten. */
export function pruneFailures(failures: Map<string, Failure>, nowMs: number): void {
  for (const [id, failure] of failures) {
    if (nowMs - failure.retryAtMs > 10 * longestMs) failures.delete(id);
  }
}
