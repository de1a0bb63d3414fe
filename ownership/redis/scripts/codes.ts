/** What scripts answer instead of a result, and what becomes of it. A code means that the script has changed nothing (but ended what had expired). */
import { HoldfastError } from '#core';

/** `attach`: attach anew and ask again. `again`: ask again at once. Otherwise the error for the caller. */
export type ScriptVerdict = 'attach' | 'again' | HoldfastError;

const unavailable = (reason: string) => () =>
  new HoldfastError('HF_COORDINATION_UNAVAILABLE', `the Redis of the directory cannot be used: ${reason}`);

const verdicts: Readonly<Record<string, () => ScriptVerdict>> = {
  /** The nonce is not that of the caller, or there is none: this Redis has forgotten something since. */
  HFFORGOTTEN: () => 'attach',
  /** Very many sessions expired at once; a part of them was ended. */
  HFAGAIN: () => 'again',
  HFDEADPROCESS: () => new HoldfastError('HF_WRONG_STATE', 'the process was reported dead'),
  HFLATEATTEMPT: () =>
    new HoldfastError(
      'HF_WRONG_STATE',
      'the attempt to open a session came late: a later one was carried out',
    ),
  HFREPLICA: unavailable('it is a replica'),
  HFEVICTS: unavailable(
    'with its maxmemory-policy it drops who owns what when its memory is full; set noeviction',
  ),
  HFTOOOLD: unavailable('it is older than 6.2'),
};

/** Reads an error that Redis answered; null: none of ours. */
export function verdictOf(message: string): ScriptVerdict | null {
  const code = /\bHF[A-Z]+\b/.exec(message)?.[0];
  return code === undefined ? null : (verdicts[code]?.() ?? null);
}
