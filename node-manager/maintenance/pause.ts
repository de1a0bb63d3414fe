/**
 * Whether reconciliation is paused: then whoever leads observes and plans as ever, so that everybody sees what would be done, but does nothing,
 * not even in place of what crashed. It lies in the store, so that the next leader keeps still too.
 */
import { HoldfastError, isoTime, type ApiEvent, type ReconciliationPause, type System } from '#core';
import type { Note } from '../cluster/notes.ts';

export interface PauseNote {
  paused: ReconciliationPause | null;
}

export const notPaused: PauseNote = { paused: null };

export interface Pause {
  current(): ReconciliationPause | null;
  /** Changes nothing if it is paused already. @throws HoldfastError HF_NOT_LEADER */
  pause(by: string, reason: string | null): Promise<PauseNote>;
  resume(): Promise<PauseNote>;
  /** @throws HoldfastError HF_WRONG_STATE while paused */
  assertRunning(): void;
}

export function createPause(options: {
  system: System;
  note: Note<PauseNote>;
  onEvent: (event: ApiEvent) => void;
}): Pause {
  const { system, note, onEvent } = options;

  async function change(make: (present: ReconciliationPause | null) => ReconciliationPause | null) {
    let changed = false;
    const after = await note.change(({ paused }) => {
      const next = make(paused);
      changed = next !== paused;
      return changed ? { paused: next } : null;
    });
    if (changed) onEvent({ type: 'reconciliation', at: isoTime(system.clock), paused: after.paused });
    return after;
  }

  return {
    current: () => note.current().paused,
    pause: (by, reason) => change(present => present ?? { since: isoTime(system.clock), by, reason }),
    resume: () => change(() => null),
    assertRunning() {
      const { paused } = note.current();
      if (!paused) return;
      throw new HoldfastError(
        'HF_WRONG_STATE',
        `reconciliation is paused since ${paused.since} by ${paused.by}${paused.reason === null ? '' : ` (${paused.reason})`}; resume it first: holdfast reconciliation resume`,
        { details: { paused } },
      );
    },
  };
}
