/** What to do when the target is not as the source thinks: pure. */
import type { RowChange } from './change.ts';
import type { Phase } from './state.ts';

/** `source`: the source is right. `skip`: the target keeps what it has. `halt`: somebody has to look. */
export type ConflictPolicy = 'source' | 'skip' | 'halt';

export type ConflictKind = 'exists' | 'missing' | 'blocked' | 'unfit';

export interface ConflictQuestion {
  readonly policy: ConflictPolicy;
  readonly phase: Phase;
  readonly change: RowChange['type'];
  readonly finding: ConflictKind;
  /** The row may rightly be missing. */
  readonly fleeting: boolean;
  /** What stands in the way is in the source too, so it is only older than what comes. */
  readonly stale: boolean;
}

export interface Decision {
  /** `overwrite`: the row with the key becomes this one, or is made. `make-room`: what stands in the way goes, then once more. */
  readonly act: 'nothing' | 'overwrite' | 'make-room' | 'halt';
  readonly record: boolean;
}

export interface ConflictRecord {
  readonly table: string;
  readonly key: string;
  readonly change: RowChange['type'];
  readonly finding: ConflictKind;
  readonly act: Decision['act'];
  readonly why: string;
}

export function decide(question: ConflictQuestion): Decision {
  const { policy, phase, change, finding, fleeting, stale } = question;
  if (finding === 'unfit') {
    // No policy can make a value fit; leaving the row out must have been asked for.
    return policy === 'skip' ? { act: 'nothing', record: true } : { act: 'halt', record: false };
  }
  const remedy = remedyFor(finding, change);
  // Older and newer states meet until the target has caught up: nothing of that is a conflict.
  const expected =
    phase !== 'following' || (finding === 'missing' && fleeting) || (finding === 'blocked' && stale);
  if (expected) return { act: remedy, record: false };
  switch (policy) {
    case 'source':
      return { act: remedy, record: true };
    case 'skip':
      return { act: 'nothing', record: true };
    case 'halt':
      return { act: 'halt', record: false };
  }
}

function remedyFor(finding: 'exists' | 'missing' | 'blocked', change: RowChange['type']): Decision['act'] {
  if (finding === 'blocked') return 'make-room';
  return change === 'delete' ? 'nothing' : 'overwrite';
}
