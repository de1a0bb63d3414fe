/**
 * How far the present run is, for whoever asks: each action with its reason and state. What takes long outlives its run, and is shown until it
 * has ended.
 */
import type { ActionProgress } from '#core';
import type { Action } from '../planning/model.ts';
import type { ActionOutcome } from './apply.ts';
import { toPlanAction } from './plan-action.ts';

export interface SyncProgress {
  /** A run begins to act. What has ended before is not shown any more. */
  plan(actions: readonly Action[]): void;
  begin(action: Action, at: string): void;
  end(outcome: ActionOutcome): void;
  /** In the order of their plans. */
  actions(): ActionProgress[];
}

export function createSyncProgress(): SyncProgress {
  let shown = new Map<string, ActionProgress>();
  return {
    plan(actions) {
      shown = new Map([...shown].filter(([, { state }]) => state === 'running'));
      for (const action of actions) {
        shown.set(action.id, { ...toPlanAction(action), state: 'waiting', startedAt: null, error: null });
      }
    },
    begin(action, at) {
      shown.set(action.id, { ...toPlanAction(action), state: 'running', startedAt: at, error: null });
    },
    end({ action, result, error }) {
      const before = shown.get(action.id);
      if (!before) return;
      shown.set(action.id, {
        ...before,
        state: result,
        error: error && `${error.code}: ${error.message}`,
      });
    },
    actions: () => [...shown.values()],
  };
}
