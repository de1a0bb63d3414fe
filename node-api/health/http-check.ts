/**
 * What answers to HTTP checks mean: a verdict that changes only after several failures in a row, and back at the first success. Pure.
 *
 * ```
 *              good                 failuresMax × bad
 *   unknown ─────────▶ good ⇄ bad   (and good again at the first good answer)
 * ```
 *
 * Until the first good answer the host counts as not ready, and failures restart nothing before the time for a start is over:
 * a slow starter is no sick one.
 */

export interface CheckRules {
  readonly failuresMax: number;
  readonly restart: boolean;
  /** How long after the start a component that never gave a good answer is waited for. */
  readonly firstAnswerMs: number;
}

export interface CheckState {
  readonly verdict: 'unknown' | 'good' | 'bad';
  /** In a row. */
  readonly failures: number;
}

export type CheckOutcome =
  | { readonly good: true }
  | { readonly good: false; /** In words. */ readonly problem: string; readonly sinceStartMs: number };

/** What the host is told of its health as seen from outside. */
export interface Verdict {
  readonly ok: boolean;
  readonly message?: string;
}

export interface CheckStep {
  readonly state: CheckState;
  /** Null: nothing new. */
  readonly verdict: Verdict | null;
  readonly restart: boolean;
}

export const initialCheck: CheckState = { verdict: 'unknown', failures: 0 };

export function stepCheck(state: CheckState, outcome: CheckOutcome, rules: CheckRules): CheckStep {
  if (outcome.good) {
    const verdict = state.verdict === 'good' ? null : { ok: true };
    return { state: { verdict: 'good', failures: 0 }, verdict, restart: false };
  }
  const failures = state.failures + 1;
  const failed = failures >= rules.failuresMax;
  const patient = state.verdict === 'unknown' && outcome.sinceStartMs < rules.firstAnswerMs;
  const restart = failed && rules.restart && !patient;
  const message = `the health check failed ${failures} times in a row: ${outcome.problem}`;
  // Said once, at the failure that turns the verdict; a component that was never good is bad already, and the reason is worth knowing.
  const news = state.verdict === 'good' ? failed : failures === rules.failuresMax;
  const verdict = state.verdict === 'good' && failed ? 'bad' : state.verdict;
  return { state: { verdict, failures }, verdict: news ? { ok: false, message } : null, restart };
}
