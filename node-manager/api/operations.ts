/** What the master API can do. The routes know HTTP; this knows the cluster. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { MasterPackage, MasterUpload, SyncOutcome } from '#client';
import {
  HoldfastError,
  isoTime,
  type InstanceExplanation,
  type ClusterAccess,
  type InstanceId,
  type MasterHost,
  type MasterInstance,
  type MasterNode,
  type MasterStatus,
  type PlanAction,
  type ResourceInfo,
  type SyncStatus,
  type System,
} from '#core';
import type { EvennessWatch } from '../evenness/evenness.ts';
import type { LeaderNote, Note, RestartsNote } from '../cluster/notes.ts';
import type { Observer } from '../cluster/observer.ts';
import type { PackageCatalog } from '../cluster/package-catalog.ts';
import type { Reconciler } from '../cluster/reconciler.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { Deployments } from '../deployments/deployments.ts';
import type { Distribution } from '../deployments/distribution.ts';
import type { CanaryRequest } from '../deployments/model.ts';
import type { VersionChange } from '../deployments/version-change.ts';
import { effectiveInstances } from '../planning/desired.ts';
import type { CurrentSettings, SettingsKeeper } from '../settings/settings-keeper.ts';
import type { Backups } from '../backup/backups.ts';
import type { KeyOperations } from '../keys/key-operations.ts';
import type { NodeMaintenances } from '../maintenance/nodes.ts';
import type { Pause } from '../maintenance/pause.ts';
import type { EventStream } from './event-stream.ts';
import { masterHosts, masterNodes, masterPackages, resourceInfo, routerUris } from './status.ts';

export interface MasterOperations {
  readonly uploadBytesMax: number;
  /** @throws HoldfastError HF_NOT_LEADER, with the leader's address if that is known */
  assertLeading(): void;
  status(): MasterStatus;
  nodes(): MasterNode[];
  instances(): MasterInstance[];
  packages(): MasterPackage[];
  hosts(): MasterHost[];
  plan(): Promise<PlanAction[]>;
  /** @throws HoldfastError HF_NOT_FOUND */
  explain(instanceId: string): Promise<InstanceExplanation>;
  sync(): Promise<SyncOutcome>;
  progress(): SyncStatus;
  resources(query: {
    prefix?: string;
    limit?: number;
    cursor?: string;
    instance?: string;
  }): Promise<{ resources: ResourceInfo[]; cursor: string | null }>;
  /** Of a package that the cluster has. @throws HoldfastError HF_PACKAGE_NOT_FOUND: it has to be sent */
  knownZip(sha256: string): Promise<Buffer>;
  /** `by`: who asked, as records show it (`actorOf`). */
  upload(
    zip: Buffer,
    options: { makeCurrent: boolean; canary: CanaryRequest | null; by: string },
  ): Promise<MasterUpload>;
  readonly rollback: VersionChange['rollback'];
  readonly jobs: Pick<Jobs, 'list' | 'get' | 'run' | 'cancel'>;
  readonly deployments: Pick<Deployments, 'list' | 'get' | 'command'>;
  removePackage(packageName: string, version: string | null): Promise<void>;
  settings(): CurrentSettings;
  putSettings(text: string, ifMatch: string | null, by: string): Promise<CurrentSettings>;
  undoSettings(to: number | null, ifMatch: string | null, by: string): Promise<CurrentSettings>;
  readonly settingsHistory: SettingsKeeper['history'];
  readonly backups: Backups;
  restart(instanceId: string): Promise<{ instanceId: string; restart: string }>;
  readonly keys: KeyOperations;
  readonly maintenance: NodeMaintenances;
  readonly pause: Pause;
  attachEvents(request: FastifyRequest, reply: FastifyReply): void;
}

export interface OperationsDeps {
  system: System;
  cluster: ClusterAccess;
  version: string;
  uploadBytesMax: number;
  settings: SettingsKeeper;
  observer: Observer;
  catalog: PackageCatalog;
  reconciler: Reconciler;
  distribution: Distribution;
  backups: Backups;
  deployments: Deployments;
  jobs: Jobs;
  versions: VersionChange;
  keys: KeyOperations;
  maintenance: NodeMaintenances;
  evenness: Pick<EvennessWatch, 'current'>;
  pause: Pause;
  events: EventStream;
  restarts: Note<RestartsNote>;
  leads: () => boolean;
  /** Null while nobody leads, as far as is known. */
  leader: () => LeaderNote | null;
  managers: () => MasterStatus['managers'];
  /** Of this manager itself. */
  warnings: () => string[];
}

export function createOperations(deps: OperationsDeps): MasterOperations {
  const { system, cluster, settings, observer, catalog, reconciler, distribution, deployments, events } =
    deps;
  const { directory } = cluster.coordination;

  function requireSettings(): CurrentSettings {
    const current = settings.current();
    if (current) return current;
    const refused = settings.error();
    throw new HoldfastError(
      'HF_UNAVAILABLE',
      refused ? `the cluster has no valid settings: ${refused.message}` : 'the cluster has no settings yet',
    );
  }

  function nodes(): MasterNode[] {
    const current = settings.current();
    return current
      ? masterNodes(current.settings, observer.nodes(), reconciler.plan(), deps.maintenance.current())
      : [];
  }

  function status(): MasterStatus {
    const current = settings.current();
    const last = reconciler.lastSync();
    const leader = deps.leader();
    return {
      clusterName: current?.settings.clusterName ?? cluster.clusterName,
      version: deps.version,
      leader: leader && { processId: leader.processId, nodeName: leader.nodeName, fence: leader.fence },
      isLeader: deps.leads(),
      managers: deps.managers(),
      settings: current && {
        etag: current.etag,
        revision: current.revision,
        updatedAt: current.updatedAt,
        updatedBy: current.updatedBy,
      },
      reconciliationPaused: deps.pause.current(),
      settingsError: settings.error(),
      warnings: [...settings.warnings(), ...catalog.warnings(), ...deps.warnings()],
      lastSync: last && { ...last, actions: last.actions.length },
      ...deps.evenness.current(),
      nodes: nodes(),
      instances: instances(),
      routes: (current?.settings.routes ?? []).map(({ pathPrefix, componentInstanceId }) => ({
        pathPrefix,
        componentInstanceId,
      })),
      routers: current ? routerUris(current.settings, catalog.entries(), observer.nodes()) : [],
    };
  }

  function instances(): MasterInstance[] {
    const planned = reconciler.plan()?.instances ?? [];
    return planned.map(instance => {
      const deployment = deployments.activeOf(instance.id);
      const isNews = deployment?.state === 'paused' || deployment?.state === 'rolling-back';
      const told = isNews ? [`deployment ${deployment.id} is ${deployment.state}: ${deployment.reason}`] : [];
      return { ...instance, problems: [...instance.problems, ...told], deployment };
    });
  }

  return {
    uploadBytesMax: deps.uploadBytesMax,
    assertLeading() {
      if (deps.leads()) return;
      const leader = deps.leader()?.address ? deps.leader() : null;
      throw new HoldfastError(
        'HF_NOT_LEADER',
        leader ? `the leading node manager is at ${leader.address}` : 'no node manager leads at the moment',
        leader ? { details: { leader: leader.address, processId: leader.processId } } : {},
      );
    },
    status,
    nodes,
    instances,
    packages() {
      const current = settings.current();
      return current
        ? masterPackages(current.settings, catalog.entries(), observer.nodes(), deps.restarts.current())
        : [];
    },
    hosts: () => masterHosts(observer.nodes()),
    plan: () => reconciler.dryRun(),
    async explain(instanceId) {
      requireSettings();
      const explained = await reconciler.explain(instanceId);
      if (explained) return explained;
      throw new HoldfastError(
        'HF_NOT_FOUND',
        `there is no instance ${instanceId} whose copies are placed; there are: ${
          instances()
            .map(({ id }) => id)
            .join(', ') || 'none'
        }`,
      );
    },
    async sync() {
      deps.pause.assertRunning();
      return reconciler.sync('it was asked for');
    },
    progress: () => reconciler.progress(),
    maintenance: deps.maintenance,
    pause: deps.pause,
    async resources({ instance, ...query }) {
      const { claims, cursor } = await directory.list({
        ...query,
        ...(instance === undefined ? {} : { pool: instance as InstanceId }),
      });
      return { resources: claims.map(resourceInfo), cursor };
    },
    async knownZip(sha256) {
      const known = catalog.entries().find(entry => entry.sha256 === sha256 && entry.problem === null);
      if (known) return catalog.bytes(known.packageName, known.packageVersion);
      throw new HoldfastError('HF_PACKAGE_NOT_FOUND', 'no package with this digest is known: send the ZIP');
    },
    async upload(zip, { makeCurrent, canary, by }) {
      const stored = await distribution.upload(zip, makeCurrent, by);
      const { packageName, packageVersion } = stored.package;
      const rolled = makeCurrent
        ? await deps.versions.roll(packageName, packageVersion, { by, canary })
        : { instances: [], etag: null };
      return { ...stored, instances: rolled.instances, settingsEtag: rolled.etag };
    },
    rollback: deps.versions.rollback,
    deployments,
    jobs: deps.jobs,
    removePackage: distribution.remove,
    settings: requireSettings,
    putSettings: settings.put,
    undoSettings: settings.undo,
    settingsHistory: settings.history,
    backups: deps.backups,
    keys: deps.keys,
    async restart(instanceId) {
      const { settings: current } = requireSettings();
      if (!effectiveInstances(current, catalog.entries()).some(instance => instance.id === instanceId)) {
        throw new HoldfastError('HF_NOT_FOUND', `there is no instance ${instanceId}`);
      }
      const nonce = system.random.id(8);
      await deps.restarts.change(present => ({ ...present, [instanceId]: nonce }));
      events.send({ type: 'restart', at: isoTime(system.clock), instanceId });
      return { instanceId, restart: nonce };
    },
    attachEvents: (request, reply) => events.attach(request, reply),
  };
}
