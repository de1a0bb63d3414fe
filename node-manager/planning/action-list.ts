/** The stops and starts of a plan as it is made: none twice, none too early after a failure, and when it is time to plan again. */
import type { Copy } from './copies.ts';
import type { DesiredInstance } from './desired.ts';
import type { Action, Failure, PlanInput } from './model.ts';
import type { DesiredRevision } from './revision.ts';

export interface ActionList {
  /** Planning again is worth while after this time, whatever happens; null says nothing. */
  due(ms: number | null): void;
  dueInMs(): number | null;
  /**
   * Plans the stop of a copy where one can be made.
   * @returns the ids that a start has to wait for; none: it cannot be stopped now
   */
  stop(copy: Copy, reason: string, needs?: string[]): string[];
  /** @returns the id of the action */
  start(wanted: {
    instance: DesiredInstance;
    target: DesiredRevision;
    slot: string;
    node: string;
    reason: string;
    needs: string[];
  }): string;
  /** The failure of an earlier attempt to start the slot, if one is remembered. */
  failureOf(target: DesiredRevision, slot: string): Failure | undefined;
  /** How many there are so far. */
  counts(): { stops: number; starts: number };
  /** Stops, then starts. */
  actions(): Action[];
}

export function createActionList(input: Pick<PlanInput, 'failures' | 'nowMs'>): ActionList {
  const { failures, nowMs } = input;
  const stops: Action[] = [];
  const stopping = new Set<string>();
  const starts: Action[] = [];
  let dueInMs: number | null = null;
  const due = (ms: number | null) => {
    if (ms !== null && (dueInMs === null || ms < dueInMs)) dueInMs = ms;
  };

  return {
    due,
    dueInMs: () => dueInMs,
    stop(copy, reason, needs = []) {
      if (!copy.reachable) return [];
      const id = `stop ${copy.node} ${copy.process.processId}`;
      if (stopping.has(id)) return [id];
      const failure = failures.get(id);
      if (copy.condition === 'stopping' && !failure) {
        due(250); // it is on its way out
        return [];
      }
      if (failure && failure.retryAtMs > nowMs) {
        due(failure.retryAtMs - nowMs);
        return [];
      }
      stopping.add(id);
      stops.push({
        type: 'stop',
        id,
        node: copy.node,
        reason,
        needs,
        packageName: copy.process.packageName,
        processId: copy.process.processId,
        settingsId: copy.settingsId,
      });
      return [id];
    },
    start({ instance, target, slot, node, reason, needs }) {
      const { settingsId, request } = target.start(slot);
      const id = `start ${settingsId}`;
      starts.push({
        type: 'start',
        id,
        node,
        reason,
        needs,
        instanceId: instance.settings.id,
        slot,
        settingsId,
        packageName: instance.settings.packageName,
        request,
        deadlineMs: instance.settings.update.deadlineMs,
      });
      return id;
    },
    failureOf: (target, slot) =>
      failures.size === 0 ? undefined : failures.get(`start ${target.start(slot).settingsId}`),
    counts: () => ({ stops: stops.length, starts: starts.length }),
    actions: () => [...stops, ...starts],
  };
}
