/**
 * The node managers, where the settings want more than one: they are started on different nodes, and replaced one at a time while the
 * leader goes on. The leader is never stopped: where it has to go, it resigns, and the next one stops it.
 *
 * Slot 0 is the manager that `up` or `bootstrap` started. It may read a settings file that nobody here knows of, so it is never replaced,
 * and stopped only where its node left the settings; the others have the slots from 1 on. A manager is outdated by its package, its host
 * package or a restart that was asked for, not by settings: a port that is chosen for it is no reason to start it again. Pure.
 */
import { createHash } from 'node:crypto';
import { managerRequest, type InstanceSettings, type MasterInstance } from '#core';
import { resolvePackage } from './catalog.ts';
import { desiredHostPackage, MANAGER_PACKAGE, parseSettingsId } from './desired.ts';
import type { Action, ObservedNode, ObservedProcess, PlanInput } from './model.ts';
import type { PlanNode, PlanNodes } from './nodes.ts';
import type { PackagePlan } from './packages.ts';
import { loadOf, missingLabel } from './placement.ts';
import type { RevisionPackages } from './revision.ts';
import { order } from './slots.ts';

/** A live manager on a node that is not given up. */
export interface Manager {
  node: ObservedNode;
  process: ObservedProcess;
}

interface Seen {
  name: string;
  /** Null: nobody here started it. */
  slot: number | null;
  process: ObservedProcess;
  reachable: boolean;
  leads: boolean;
  well: boolean;
  outdated: boolean;
}

export interface ManagersPlan {
  actions: Action[];
  /** Null where the settings want one only, which is not planned. */
  instance: MasterInstance | null;
  dueInMs: number | null;
}

const nothing: ManagersPlan = { actions: [], instance: null, dueInMs: null };
const lookAgainMs = 1_000;
const startDeadlineMs = 60_000;

/** What a further manager is started from; null while one only is wanted, or its package is not known. */
export function managerPackages(input: Pick<PlanInput, 'settings' | 'catalog'>): RevisionPackages | null {
  const { settings, catalog } = input;
  if (settings.managers < 2) return null;
  const { found } = resolvePackage(catalog, MANAGER_PACKAGE, declaredManager(input)?.packageVersion ?? null);
  return found && { component: found, publisher: null, host: desiredHostPackage(settings, catalog) };
}

export function planManagers(
  input: PlanInput,
  context: {
    nodes: PlanNodes;
    packages: PackagePlan;
    managers: readonly Manager[];
    wanted: RevisionPackages | null;
  },
): ManagersPlan {
  const { settings, failures, managerId, nowMs } = input;
  const { nodes, packages, wanted } = context;
  const count = settings.managers;
  if (count < 2 && context.managers.length < 2) return nothing;
  const declared = declaredManager(input);
  const generation = wanted && generationOf(wanted, input.restarts[declared?.id ?? MANAGER_PACKAGE] ?? null);
  const seen = context.managers
    .map(toSeen)
    .sort((a, b) => (a.slot ?? -1) - (b.slot ?? -1) || order(a.name, b.name));
  const staying = seen.filter(
    manager => nodes.byName.has(manager.name) && !nodes.departures.has(manager.name),
  );
  const leaving = seen.filter(manager => !staying.includes(manager));
  const standing = staying.filter(manager => !manager.leads && manager.well);
  const actions: Action[] = [];
  const problems: string[] = [];
  let dueInMs: number | null = null;

  for (let missing = count - staying.length; missing > 0 && wanted; missing--) if (!startOne()) break;
  if (managerId !== null) {
    if (count > 1) leave();
    retire();
    if (count > 1 && actions.length === 0) renew();
  }
  // What fails is its agent's to tell; what comes up or goes is worth another look.
  const changing = ({ process, well, reachable }: Seen) =>
    reachable && !well && ['Starting', 'Stopping', 'Running'].includes(process.state);
  if (count > 1 && seen.some(changing)) dueInMs ??= lookAgainMs;
  return { actions, instance: count < 2 ? null : report(), dueInMs };

  function toSeen({ node, process }: Manager): Seen {
    const parsed = parseSettingsId(process.settingsId);
    const slot =
      parsed?.instanceId === MANAGER_PACKAGE && /^[0-9]+$/.test(parsed.slot) ? Number(parsed.slot) : null;
    const version = process.component?.packageVersion ?? process.packageVersion;
    const sameVersion = wanted === null || version === wanted.component.packageVersion;
    return {
      name: node.name,
      slot,
      process,
      reachable: node.state === 'ready',
      leads: process.processId === managerId,
      well: node.state === 'ready' && process.state === 'Running' && process.healthySinceMs !== null,
      outdated:
        !sameVersion ||
        (slot !== null && slot > 0 && generation !== null && parsed!.generation !== generation),
    };
  }

  /** Where no other manager is, if it can be on a machine of its own, least loaded first. */
  function startOne(): boolean {
    const taken = new Set(seen.map(({ name }) => name));
    const planned = actions.flatMap(action => (action.type === 'start' ? [action.node] : []));
    const addresses = new Set(
      [...taken, ...planned].flatMap(name => nodes.byName.get(name)?.networkIp ?? []),
    );
    const labels = declared?.constraints.labels ?? {};
    const [best] = nodes.all
      .filter(
        node =>
          node.closed === null &&
          !taken.has(node.name) &&
          !planned.includes(node.name) &&
          missingLabel(labels, node.labels) === null &&
          packages.unfit(node.name, wanted!) === null,
      )
      .sort(
        (a, b) =>
          Number(addresses.has(a.networkIp)) - Number(addresses.has(b.networkIp)) ||
          loadOf(a) - loadOf(b) ||
          order(a.name, b.name),
      );
    if (!best) {
      problems.push(`${count} managers are wanted, and there is no further node for one`);
      return false;
    }
    const used = new Set([
      ...seen.map(({ slot }) => slot),
      ...actions.flatMap(action => (action.type === 'start' ? [Number(action.slot)] : [])),
    ]);
    let slot = 1;
    while (used.has(slot)) slot++;
    return start(slot, best, addresses.has(best.networkIp), 'a manager is missing', []);
  }

  function start(slot: number, node: PlanNode, shared: boolean, reason: string, needs: string[]): boolean {
    const settingsId = `${MANAGER_PACKAGE}/${slot}/${generation}`;
    const id = `start ${settingsId}`;
    const failure = failures.get(id);
    if (failure) {
      problems.push(`a manager did not start on ${failure.node}: ${failure.code}: ${failure.message}`);
      if (failure.retryAtMs > nowMs) {
        dueInMs = Math.min(dueInMs ?? Infinity, failure.retryAtMs - nowMs);
        return false;
      }
    }
    const { settingsFile: _itsOwn, ...own } = managerRequest(settings, null, node.networkIp).settings ?? {};
    const port = declared?.ports[slot] ?? (shared ? 0 : own.port);
    const { component, host } = wanted!;
    actions.push({
      type: 'start',
      id,
      node: node.name,
      reason,
      needs: [...packages.needsOf(node.name, wanted!), ...needs],
      instanceId: MANAGER_PACKAGE,
      slot: String(slot),
      settingsId,
      packageName: MANAGER_PACKAGE,
      request: {
        ...managerRequest(settings, null, node.networkIp),
        settingsId,
        settings: { ...own, port },
        version: component.packageVersion,
        ...(host ? { hostVersion: host.packageVersion } : {}),
      },
      deadlineMs: startDeadlineMs,
    });
    return true;
  }

  /** Managers on nodes that copies leave go when there are others. */
  function leave(): void {
    if (standing.length === 0) return;
    for (const manager of leaving) {
      const { reason } = nodes.departures.get(manager.name) ?? { reason: `${manager.name} is gone` };
      if (manager.leads) resign(manager, reason);
      // The one that may read the settings file stays with it; a node may be switched off under it all the same.
      else if (manager.slot !== 0 || !nodes.byName.has(manager.name)) stop(manager, reason);
    }
  }

  /** More than are wanted: the last ones go, but not slot 0, and the leader only when it leads no more. */
  function retire(): void {
    let surplus = staying.length - count;
    const reason = count === 1 ? 'one manager is wanted' : `${count} managers are wanted`;
    const further = staying.filter(({ slot }) => slot !== null && slot > 0).reverse();
    for (const manager of further.filter(({ leads }) => !leads)) {
      if (surplus <= 0) return;
      stop(manager, reason);
      surplus--;
    }
    const leader = further.find(({ leads }) => leads);
    if (surplus > 0 && leader && standing.length > 0) resign(leader, reason);
  }

  /** One at a time, while all others are well; the leader last, by the hand of the next one. */
  function renew(): void {
    const outdated = staying.filter(manager => manager.outdated);
    for (const { name, slot } of outdated) {
      if (slot !== null && slot > 0) continue;
      problems.push(
        `the manager on ${name} has an older version, and nobody but who started it knows its settings file: run "holdfast bootstrap" again`,
      );
    }
    const renewable = outdated.filter(({ slot }) => slot !== null && slot > 0);
    const standby = renewable.filter(manager => !manager.leads);
    const next = standby.find(manager => !manager.well) ?? standby[0];
    if (next) {
      const node = nodes.byName.get(next.name)!;
      if (!next.reachable || staying.some(manager => manager !== next && !manager.well)) return;
      const shared = staying.some(
        manager => manager !== next && nodes.byName.get(manager.name)!.networkIp === node.networkIp,
      );
      const reason = 'its version, its host package or a restart is another';
      // Nothing is stopped before the new one can be started.
      const failed = failures.get(`start ${MANAGER_PACKAGE}/${next.slot}/${generation}`);
      if (failed && failed.retryAtMs > nowMs) return;
      const id = stop(next, reason, packages.needsOf(node.name, wanted!));
      if (id !== null) start(next.slot!, node, shared, reason, [id]);
      return;
    }
    const [leader] = renewable;
    if (leader && standing.some(manager => !manager.outdated))
      resign(leader, 'all others have the new version');
  }

  /** Its id; null: it cannot be stopped now. */
  function stop({ name, process, reachable }: Seen, reason: string, needs: string[] = []): string | null {
    const id = `stop ${name} ${process.processId}`;
    const failure = failures.get(id);
    if (!reachable) return null;
    if (process.state === 'Stopping' || (failure && failure.retryAtMs > nowMs)) {
      dueInMs = lookAgainMs;
      return null;
    }
    const { packageName, processId } = process;
    const settingsId = process.settingsId ?? processId;
    actions.push({ type: 'stop', id, node: name, reason, needs, packageName, processId, settingsId });
    return id;
  }

  function resign({ name }: Seen, reason: string): void {
    actions.push({ type: 'resign', id: `resign ${managerId}`, node: name, reason, needs: [] });
  }

  function report(): MasterInstance {
    const versions: Record<string, number> = {};
    for (const { process } of seen) {
      const version = process.component?.packageVersion ?? process.packageVersion;
      versions[version] = (versions[version] ?? 0) + 1;
    }
    return {
      id: declared?.id ?? MANAGER_PACKAGE,
      packageName: MANAGER_PACKAGE,
      packageVersion: wanted?.component.packageVersion ?? null,
      desired: count,
      running: staying.filter(manager => manager.well && !manager.outdated).length,
      live: seen.length,
      versions,
      nodes: [...new Set(seen.map(({ name }) => name))].sort(order),
      problems: wanted === null ? [`package ${MANAGER_PACKAGE} is not known`, ...problems] : problems,
      deployment: null,
    };
  }
}

function declaredManager({ settings }: Pick<PlanInput, 'settings'>): InstanceSettings | undefined {
  return settings.componentInstances.find(instance => instance.packageName === MANAGER_PACKAGE);
}

function generationOf({ component, host }: RevisionPackages, restart: string | null): string {
  const parts = [component.packageVersion, component.sha256, host?.packageVersion ?? null, restart];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 12);
}
