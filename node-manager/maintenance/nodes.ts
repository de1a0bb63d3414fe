/**
 * What operators have said of nodes: one note in the store, so that it holds whoever leads. A node that is cordoned gets no more copies; one that
 * drains is cordoned, and its copies move away. The plan does the moving; here is only what was asked for, and how far it has come.
 */
import { HoldfastError, isoTime, type ApiEvent, type NodeMaintenance, type System } from '#core';
import type { Note } from '../cluster/notes.ts';
import { isNoCopy } from '../planning/copies.ts';
import type { ObservedNode } from '../planning/model.ts';

/** By name of the node; one that is not in it is as the settings have it. */
export type MaintenanceNote = Record<string, NodeMaintenance>;

export interface MaintenanceRequest {
  by: string;
  reason: string | null;
  /** When copies that could not move are stopped all the same; null: never. */
  deadlineMs: number | null;
}

export interface NodeMaintenances {
  current(): MaintenanceNote;
  /**
   * Each resolves to what holds then, and changes nothing that holds already.
   * @throws HoldfastError HF_NOT_FOUND, HF_NOT_LEADER
   */
  cordon(node: string, request: MaintenanceRequest): Promise<NodeMaintenance>;
  drain(node: string, request: MaintenanceRequest): Promise<NodeMaintenance>;
  undrain(node: string): Promise<null>;
  /** Tells of nodes that have become empty since the last call. */
  noteProgress(nodes: readonly ObservedNode[]): void;
}

export function createNodeMaintenances(options: {
  system: System;
  note: Note<MaintenanceNote>;
  /** Names of the settings' nodes and of those that are on their way out. */
  names: () => readonly string[];
  onEvent: (event: ApiEvent) => void;
}): NodeMaintenances {
  const { system, note, names, onEvent } = options;
  const told = new Set<string>();

  async function change(
    node: string,
    make: (present: NodeMaintenance | null) => NodeMaintenance | null,
  ): Promise<NodeMaintenance | null> {
    if (!names().includes(node) && !Object.hasOwn(note.current(), node)) {
      throw new HoldfastError(
        'HF_NOT_FOUND',
        `there is no node ${node}; the nodes are ${names().join(', ')}`,
      );
    }
    let changed = false;
    const after = await note.change(all => {
      const next = make(all[node] ?? null);
      changed = next !== (all[node] ?? null);
      return changed ? replaced(all, node, next, names()) : null;
    });
    const present = after[node] ?? null;
    if (changed) {
      told.delete(node);
      onEvent({
        type: 'maintenance',
        at: isoTime(system.clock),
        nodeName: node,
        state: present?.state ?? null,
        by: present?.by ?? null,
        reason: present?.reason ?? null,
        deadlineAt: present?.deadlineAt ?? null,
      });
    }
    return present;
  }

  return {
    current: note.current,
    async cordon(node, request) {
      return (await change(node, present => cordoned(present, request, isoTime(system.clock))))!;
    },
    async drain(node, request) {
      return (await change(node, present => drained(present, request, system.clock.wallMs())))!;
    },
    async undrain(node) {
      await change(node, () => null);
      return null;
    },
    noteProgress(nodes) {
      for (const node of nodes) {
        const empty = note.current()[node.name]?.state === 'draining' && isEmpty(node);
        if (!empty) told.delete(node.name);
        else if (!told.has(node.name)) {
          told.add(node.name);
          onEvent({ type: 'node-drained', at: isoTime(system.clock), nodeName: node.name });
        }
      }
    },
  };
}

/** One that is cordoned or drains stays as it is. Pure. */
export function cordoned(
  present: NodeMaintenance | null,
  { by, reason }: MaintenanceRequest,
  now: string,
): NodeMaintenance {
  return present ?? { state: 'cordoned', since: now, by, reason, deadlineAt: null };
}

/** A drain that is under way goes on; a deadline that is given now replaces the one before. Pure. */
export function drained(
  present: NodeMaintenance | null,
  { by, reason, deadlineMs }: MaintenanceRequest,
  nowMs: number,
): NodeMaintenance {
  const deadlineAt = deadlineMs === null ? null : new Date(nowMs + deadlineMs).toISOString();
  if (present?.state !== 'draining') {
    return { state: 'draining', since: new Date(nowMs).toISOString(), by, reason, deadlineAt };
  }
  return deadlineAt === null ? present : { ...present, deadlineAt };
}

/** Nodes that nobody knows any more are left out: should one of that name come again, it is a new one. Pure. */
function replaced(
  all: MaintenanceNote,
  node: string,
  next: NodeMaintenance | null,
  names: readonly string[],
): MaintenanceNote {
  const others = Object.entries(all).filter(([name]) => name !== node && names.includes(name));
  return Object.fromEntries(next === null ? others : [...others, [node, next]]);
}

/** Copies of instances that run there; node managers and what others started are not among them. Pure. */
export function copiesLeft(node: Pick<ObservedNode, 'processes'>): number {
  return node.processes.filter(process => process.state !== 'Exited' && !isNoCopy(process)).length;
}

/** Whether nothing of ours is left, as far as can be seen: of a node that does not answer nothing is known. Pure. */
export function isEmpty(node: Pick<ObservedNode, 'processes' | 'state'>): boolean {
  return (node.state === 'ready' || node.state === 'dead') && copiesLeft(node) === 0;
}
