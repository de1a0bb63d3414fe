/** An action as people and the API see it. Pure. */
import type { PlanAction } from '#core';
import type { Action } from '../planning/model.ts';

export function toPlanAction(action: Action): PlanAction {
  return { type: action.type, target: targetOf(action), reason: action.reason };
}

function targetOf(action: Action): string {
  switch (action.type) {
    case 'upload-package':
      return `${action.packageName}@${action.packageVersion} on ${action.node}`;
    case 'stop':
      return `${action.settingsId} (${action.processId}) on ${action.node}`;
    case 'start':
      return `${action.settingsId} on ${action.node}`;
    case 'resign':
      return `the leading node manager on ${action.node}`;
  }
}
