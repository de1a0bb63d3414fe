/** What the nodes show of jobs, as their steps want to know it. Remembers for how long processes were seen and nodes were not. */
import type { InstanceSettings, NodeReachability } from '#core';
import { parseSettingsId } from '../planning/desired.ts';
import type { PlanInput } from '../planning/model.ts';
import { slotOf, type JobNote, type SeenRun } from './model.ts';

type Facts = Pick<PlanInput, 'observed' | 'nowMs' | 'deadAfterMs' | 'failures'>;

export interface Sightings {
  /** Takes in what was observed. */
  look(facts: Facts): void;
  /** Processes of a job, by its instance id. */
  runsOf(instanceId: string): readonly SeenRun[];
  nodeState(name: string): NodeReachability;
  /** Why the attempt under way cannot be started, if trying again does not mend it. */
  failureOf(instance: InstanceSettings, note: JobNote): { code: string; message: string } | null;
}

/** So often a start is tried before its failure counts as the attempt's. */
const startsMax = 3;
const final = new Set<string>(['HF_START_FAILED', 'HF_SETTINGS_INVALID', 'HF_SETTINGS_ID_CONFLICT']);

export function createSightings(): Sightings {
  /** When this manager saw a process first, and when it began to miss a node. Monotonic. */
  let firstSeenMs = new Map<string, number>();
  let unknownSinceMs = new Map<string, number>();
  let runs = new Map<string, SeenRun[]>();
  let states = new Map<string, NodeReachability>();
  let failures: Facts['failures'] = new Map();

  return {
    look(facts) {
      const { observed, nowMs, deadAfterMs } = facts;
      const before = { firstSeenMs, unknownSinceMs };
      [firstSeenMs, unknownSinceMs, runs, states] = [new Map(), new Map(), new Map(), new Map()];
      ({ failures } = facts);
      for (const node of observed) {
        if (node.state === 'unknown') {
          // A manager that leads since a moment ago has not seen it yet; one that never sees it gives it up like one that fell silent.
          const sinceMs = before.unknownSinceMs.get(node.name) ?? nowMs;
          unknownSinceMs.set(node.name, sinceMs);
          states.set(node.name, nowMs - sinceMs >= deadAfterMs ? 'dead' : 'unknown');
        } else states.set(node.name, node.state);
        if (states.get(node.name) === 'dead') continue;
        for (const process of node.processes) {
          const parsed = parseSettingsId(process.settingsId);
          if (!parsed) continue;
          const sinceMs = before.firstSeenMs.get(process.processId) ?? nowMs;
          firstSeenMs.set(process.processId, sinceMs);
          const run: SeenRun = {
            slot: parsed.slot,
            node: node.name,
            processId: process.processId,
            status: process.job ?? null,
            seenForMs: nowMs - sinceMs,
            ended: process.state === 'CrashLoop' ? (process.lastExit?.reason ?? 'no cause was given') : null,
          };
          const found = runs.get(parsed.instanceId);
          if (found) found.push(run);
          else runs.set(parsed.instanceId, [run]);
        }
      }
    },
    runsOf: instanceId => runs.get(instanceId) ?? [],
    nodeState: name => states.get(name) ?? 'dead',
    failureOf({ id }, { active }) {
      if (!active) return null;
      const prefix = `start ${id}/${slotOf(active)}/`;
      for (const [action, { code, message, attempts }] of failures) {
        if (action.startsWith(prefix) && attempts >= startsMax && final.has(code)) return { code, message };
      }
      return null;
    },
  };
}
