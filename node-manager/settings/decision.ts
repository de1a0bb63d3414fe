/**
 * Which settings hold when there are a file and a stored document. The store remembers the hash of the file as it was when both
 * last agreed: a file that still has this hash was not edited, so the store (which the API may have changed
 * since) wins and is written back; any other file was edited, and wins if it is valid. Pure.
 */
import { createHash } from 'node:crypto';
import type { HoldfastError, StoredSettings } from '#core';

export type FileFacts =
  /** This manager was given no file. */
  | { kind: 'none' }
  | { kind: 'missing' }
  | { kind: 'present'; text: string; sha256: string; problem: HoldfastError | null };

export type SettingsDecision =
  /** The store holds; with `writeFile`, the file is older and gets its text. */
  | { use: 'store'; writeFile: boolean; noteFile: boolean }
  /** The file holds and goes into the store. */
  | { use: 'file' }
  /** The file was edited and is not valid: the store holds on, and the problem is shown. */
  | { use: 'store'; refused: HoldfastError }
  | { use: 'nothing'; refused: HoldfastError | null };

export function decideSettings(file: FileFacts, stored: StoredSettings | null): SettingsDecision {
  if (file.kind !== 'present') {
    return stored ? { use: 'store', writeFile: false, noteFile: false } : { use: 'nothing', refused: null };
  }
  if (stored && file.text === stored.text) {
    return { use: 'store', writeFile: false, noteFile: file.sha256 !== stored.fileSha256 };
  }
  if (stored && file.sha256 === stored.fileSha256) return { use: 'store', writeFile: true, noteFile: false };
  if (file.problem === null) return { use: 'file' };
  return stored ? { use: 'store', refused: file.problem } : { use: 'nothing', refused: file.problem };
}

export function sha256Of(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}
