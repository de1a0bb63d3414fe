/**
 * Which packages every node needs and lacks: the host packages of the settings, and what instances run. Also tells
 * placement where an instance's packages cannot be had for now. Pure.
 */
import { desiredHostPackage, type DesiredInstance } from './desired.ts';
import { resolvePackage } from './catalog.ts';
import type { Action, CatalogEntry, ObservedNode, PlanInput } from './model.ts';
import type { RevisionPackages } from './revision.ts';
import { earliest } from './rolling.ts';

export interface PackagePlan {
  actions: Action[];
  nodeProblems: Record<string, string[]>;
  dueInMs: number | null;
  /** Ids of the uploads of this plan that a start on the node has to wait for. */
  needsOf(node: string, packages: RevisionPackages): string[];
  /** Why a copy that needs them cannot start there, as far as packages go. */
  unfit(node: string, packages: RevisionPackages): string | null;
}

interface Needed {
  entry: CatalogEntry;
  makeCurrent: boolean;
  reason: string;
}

/** @param managers what every node has to have, so that a manager can be started there; null: none is planned */
export function planPackages(
  input: PlanInput,
  desired: readonly DesiredInstance[],
  managers: RevisionPackages | null,
): PackagePlan {
  const { settings, catalog, failures, nowMs } = input;
  const host = desiredHostPackage(settings, catalog);
  const needed = new Map<string, Needed>();
  if (host) need(host, 'hosts start from it', true);
  for (const reference of settings.nodePackages) {
    const { found } = resolvePackage(catalog, reference.name, reference.version);
    if (found) need(found, 'it is among nodePackages', false);
  }
  for (const { settings: instance, packages, previous } of desired) {
    for (const used of [packages, previous?.packages]) {
      if (!used) continue;
      if (used.host) need(used.host, `${instance.id} runs in it`, false);
      need(used.component, `${instance.id} runs it`, false);
      if (used.publisher) need(used.publisher, `${instance.id} publishes with it`, false);
    }
  }
  if (managers) need(managers.component, 'a node manager may have to run there', false);
  for (const { packageName, packageVersion } of input.everywhere ?? []) {
    const { found } = resolvePackage(catalog, packageName, packageVersion);
    if (found) need(found, 'it was uploaded for every node', false);
  }

  const inSettings = new Set(settings.nodeServers.map(node => node.networkName));
  const actions: Action[] = [];
  const planned = new Set<string>();
  const blocked = new Map<string, string>();
  const nodeProblems: Record<string, string[]> = {};
  let dueInMs: number | null = null;
  for (const node of input.observed) {
    if (node.state === 'ready' && inSettings.has(node.name))
      for (const item of needed.values()) planFor(node, item);
  }
  return {
    actions,
    nodeProblems,
    dueInMs,
    needsOf: (node, used) =>
      planned.size === 0
        ? []
        : requirements(used)
            .map(entry => idOf(node, entry))
            .filter(id => planned.has(id)),
    unfit: (node, used) => {
      if (blocked.size === 0) return null;
      for (const entry of requirements(used)) {
        const reason = blocked.get(idOf(node, entry));
        if (reason !== undefined) return `cannot get ${entry.packageName} ${entry.packageVersion}: ${reason}`;
      }
      return null;
    },
  };

  function need(entry: CatalogEntry, reason: string, makeCurrent: boolean): void {
    const key = `${entry.packageName}@${entry.packageVersion}`;
    if (!needed.has(key)) needed.set(key, { entry, reason, makeCurrent });
  }

  function requirements(used: RevisionPackages): CatalogEntry[] {
    return [used.host, used.component, used.publisher].filter(entry => entry !== null);
  }

  function planFor(node: ObservedNode, { entry, makeCurrent, reason }: Needed): void {
    const { packageName, packageVersion } = entry;
    const id = idOf(node.name, entry);
    const present = node.packages.find(
      found => found.packageName === packageName && found.packageVersion === packageVersion,
    );
    if (present && present.sha256 !== entry.sha256) {
      const problem = `it has other bytes of ${packageName} ${packageVersion}; raise the version, or remove it there`;
      return block(problem);
    }
    if (present?.status === 'ok' && (present.current || !makeCurrent)) return;
    const failure = failures.get(id);
    if (failure) {
      if (failure.retryAtMs > nowMs) {
        dueInMs = earliest([dueInMs, failure.retryAtMs - nowMs]);
        return block(`${failure.code}: ${failure.message}`);
      }
      addProblem(`${packageName} ${packageVersion} did not get there: ${failure.code}: ${failure.message}`);
    }
    planned.add(id);
    actions.push({
      type: 'upload-package',
      id,
      node: node.name,
      reason: present
        ? present.status === 'ok'
          ? `${reason}, and it is not current`
          : 'its files are damaged'
        : reason,
      needs: [],
      packageName,
      packageVersion,
      makeCurrent,
      ...(present ? { sha256: present.sha256 } : {}),
    });

    function block(problem: string): void {
      blocked.set(id, problem);
      addProblem(`${packageName} ${packageVersion}: ${problem}`);
    }
    function addProblem(problem: string): void {
      (nodeProblems[node.name] ??= []).push(problem);
    }
  }
}

function idOf(node: string, entry: Pick<CatalogEntry, 'packageName' | 'packageVersion'>): string {
  return `upload ${node} ${entry.packageName}@${entry.packageVersion}`;
}
