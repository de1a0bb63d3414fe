/** How a package is refused: what is wrong, where, what was expected, how to mend it. One place, so that all read alike. */
import { HoldfastError } from '#core';

export interface Refusal {
  /** Raw name of the entry at fault, if one is. */
  entry?: string;
  expected: string;
  limit?: number;
  actual?: number;
  cause?: unknown;
}

/** The ZIP is wrong in itself (422). */
export function invalid(what: string, refusal: Refusal): HoldfastError {
  return refuse('HF_PACKAGE_INVALID', what, refusal);
}

/** The ZIP is over a limit (413). */
export function tooLarge(what: string, refusal: Refusal & { limit: number; actual: number }): HoldfastError {
  return refuse('HF_PACKAGE_TOO_LARGE', what, refusal);
}

function refuse(
  code: 'HF_PACKAGE_INVALID' | 'HF_PACKAGE_TOO_LARGE',
  what: string,
  { entry, cause, ...facts }: Refusal,
): HoldfastError {
  const where = entry === undefined ? 'package ZIP' : `package ZIP, entry ${quote(entry)}`;
  const figures = facts.limit === undefined ? '' : ` (limit ${facts.limit}, found ${facts.actual ?? 'more'})`;
  return new HoldfastError(code, `${where}: ${what}${figures}; expected ${facts.expected}`, {
    details: { ...(entry === undefined ? {} : { entry: shorten(entry) }), ...facts },
    cause,
  });
}

/** Hostile names must not write control characters or pages of text into a log. */
export function quote(name: string): string {
  return JSON.stringify(shorten(name));
}

function shorten(name: string): string {
  return name.length > 200 ? `${name.slice(0, 200)}…` : name;
}
