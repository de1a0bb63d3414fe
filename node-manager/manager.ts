/**
 * The node manager as a whole: puts its parts together, starts them in order and stops them in reverse. The parts know
 * each other only through what is handed to them here.
 */
import { dirname, resolve } from 'node:path';
import { createHostClient, createMasterClient } from '#client';
import { createApi, type Api } from '#http-api';
import {
  coordinationInUseProblems,
  isoTime,
  type ApiEvent,
  type ClusterAccess,
  type Component,
  type ComponentContext,
  type System,
} from '#core';
import { createEventStream } from './api/event-stream.ts';
import { fastifyLogger } from './api/fastify-logger.ts';
import { createMetrics } from './api/metrics.ts';
import { createOperations, type MasterOperations } from './api/operations.ts';
import { closeApi, listen } from './api/listening.ts';
import { masterRoutes } from './api/routes.ts';
import { createBackups } from './backup/backups.ts';
import { createNotes, type RestartsNote } from './cluster/notes.ts';
import { createObserver } from './cluster/observer.ts';
import { createPackageCatalog } from './cluster/package-catalog.ts';
import { createReconciler } from './cluster/reconciler.ts';
import { createDeployments } from './deployments/deployments.ts';
import { createDistribution, versionsIn, type PackagesNote } from './deployments/distribution.ts';
import { NO_DEPLOYMENTS, type DeploymentsState } from './deployments/model.ts';
import { createVersionChange } from './deployments/version-change.ts';
import { createEvennessWatch } from './evenness/evenness.ts';
import { createJobs } from './jobs/jobs.ts';
import { createKeyOperations } from './keys/key-operations.ts';
import { createRebalancer } from './keys/rebalancer.ts';
import { addressWarnings, advertisedUri } from './leadership/address.ts';
import { createLocks } from './leadership/locks.ts';
import { createOffice } from './leadership/office.ts';
import { createOutlook } from './leadership/outlook.ts';
import { countMoves, movesLeft, type MovesNote } from './maintenance/moves-budget.ts';
import { createNodeMaintenances, type MaintenanceNote } from './maintenance/nodes.ts';
import { createPause, notPaused, type PauseNote } from './maintenance/pause.ts';
import type { ManagerSettings } from './manager-settings.ts';
import { packageProblems } from './settings/package-checks.ts';
import { createSettingsHistory } from './settings/history.ts';
import { createLastSettings } from './settings/last-settings.ts';
import { createSettingsKeeper } from './settings/settings-keeper.ts';

export type ManagerContext = Pick<
  ComponentContext,
  'processId' | 'nodeName' | 'log' | 'dataDirectory' | 'reportHealth'
> & { settings: ManagerSettings; cluster: ClusterAccess };

/** A component; `uri()` is where the master API listens once it is started. */
export type NodeManager = Component & { uri(): string | null };

const version = '1.0.0';

export function createNodeManager(context: ManagerContext, system: System): NodeManager {
  const { settings: options, cluster, log } = context;
  const { coordination, secret } = cluster;
  const { documents, leases } = coordination;
  const settingsFile = options.settingsFile === undefined ? null : resolve(options.settingsFile);
  let api: Api | null = null;
  let uri: string | null = null;
  let observedOnce = false;
  let started = false;

  const metrics = createMetrics();
  const events = createEventStream(system);
  const onEvent = (event: ApiEvent) => {
    metrics.onEvent(event);
    events.send(event);
    if (event.type === 'sync') evenness.tell();
  };
  const ownAddress = () => advertisedUri(uri, context.nodeName, settings.current()?.settings ?? null);
  const office = createOffice({
    documents,
    leases,
    system,
    log,
    clusterName: cluster.clusterName,
    processId: context.processId,
    nodeName: context.nodeName,
    leaseTtlMs: options.leaseTtlMs,
    address: ownAddress,
    async readAgain() {
      await notes.refresh();
      await settings.reconcile();
    },
    onActing() {
      reconciler.begin();
      reconciler.request('this manager leads now');
    },
    onEvent,
  });
  const { leads } = office;
  const notes = createNotes({ documents, log, assertLeading: office.assertLease });
  const restarts = notes.open<RestartsNote>('restarts', {}, () => {
    if (started) reconciler.request('a restart was asked for');
  });
  const paused = notes.open<PauseNote>('reconciliation', notPaused, () => {
    deployments.rest();
    if (started) reconciler.request('reconciliation was paused or resumed');
  });
  const maintained = notes.open<MaintenanceNote>('maintenance', {}, () => {
    if (started) reconciler.request('the maintenance of a node changed');
  });
  const moves = notes.open<MovesNote>('moves', {});
  const locks = createLocks(leases, context.processId, options.leaseTtlMs);

  const observer = createObserver({
    system,
    log,
    token: secret,
    timeoutMs: options.nodeTimeoutMs,
    deadAfterMs: options.deadAfterMs,
    flapping: { lossesMax: options.flapLosses, windowMs: options.flapWindowMs, holdMs: options.flapHoldMs },
    store: cluster.address,
    leader: office.mark,
    leads,
    deposed: office.deposed,
    onChange: reason => reconciler.request(reason),
    onEvent,
  });
  const catalog = createPackageCatalog({
    directory: resolve(context.dataDirectory, 'catalog'),
    settingsDirectory: settingsFile === null ? context.dataDirectory : dirname(settingsFile),
    log,
    archive: (node, packageName, packageVersion) =>
      observer.client(node).archive(packageName, packageVersion),
  });
  const history = createSettingsHistory({
    documents,
    directory: resolve(context.dataDirectory, 'settings-history'),
    log,
  });
  const settings = createSettingsKeeper({
    documents,
    system,
    log,
    file: settingsFile,
    // Until a node has shown what it has, nobody can say that a package is not there.
    knownPackages: () =>
      observedOnce && observer.nodes().some(node => node.state === 'ready')
        ? new Set(catalog.entries().map(entry => entry.packageName))
        : null,
    problemsInUse: checked => [
      ...coordinationInUseProblems(checked, cluster.address),
      ...packageProblems(
        checked,
        catalog.entries(),
        observer.nodes().flatMap(node => node.packages),
      ),
    ],
    mayWrite: office.holdsLease,
    history,
    last: createLastSettings(resolve(context.dataDirectory, 'last-settings.json'), log),
    onChange: onSettings,
  });
  const packages = notes.open<PackagesNote>('packages', {});
  const deployments = createDeployments({
    note: notes.open<DeploymentsState>('deployments', NO_DEPLOYMENTS),
    restarts,
    settings,
    system,
    log,
    request: reason => reconciler.request(reason),
    onEvent,
  });
  const maintenance = createNodeMaintenances({
    system,
    note: maintained,
    names: () => observer.nodes().map(node => node.name),
    onEvent,
  });
  const evenness = createEvennessWatch({ system, settings, observer, maintenance, onEvent });
  const pause = createPause({ system, note: paused, onEvent });
  const jobs = createJobs({
    notes,
    documents,
    settings,
    system,
    log,
    request: reason => reconciler.request(reason),
    onEvent,
  });
  const reconciler = createReconciler({
    managerId: context.processId,
    system,
    log,
    settings,
    observer,
    catalog,
    restarts: restarts.current,
    everywhere: () => versionsIn(packages.current()),
    deployments,
    maintenance: maintenance.current,
    async refreshNotes() {
      try {
        await notes.refresh();
      } catch (error) {
        // What is known holds; a store that stays away ends this manager's lease.
        log.warn({ error: String(error) }, 'the notes could not be read anew');
      }
    },
    movesLeft() {
      const perHour = settings.current()?.settings.rebalance.movesPerHour ?? 0;
      return movesLeft(moves.current(), perHour, system.clock.wallMs());
    },
    async countMoves(count) {
      await moves.change(note => countMoves(note, count, system.clock.wallMs()));
    },
    resign: office.resign,
    paused: () => pause.current() !== null,
    jobs,
    leads,
    deposed: office.deposed,
    deadAfterMs: options.deadAfterMs,
    livenessMs: options.livenessMs,
    startupGraceMs: options.startupGraceMs,
    onEvent,
    onObserved() {
      observedOnce = true;
      if (leads()) maintenance.noteProgress(observer.nodes());
    },
  });
  const distribution = createDistribution({
    system,
    observer,
    catalog,
    settings,
    locks,
    note: packages,
    returns: deployments.returns,
    restarts: restarts.current,
    request: reason => reconciler.request(reason),
    onEvent,
  });
  const host = (address: string) => createHostClient({ uri: address, token: secret });
  const keys = createKeyOperations({
    directory: coordination.directory,
    host,
    routes: () => settings.current()?.settings.routes ?? [],
    isInstance: id => settings.current()?.settings.componentInstances.some(item => item.id === id) ?? false,
  });
  const rebalancer = createRebalancer({
    directory: coordination.directory,
    host,
    system,
    log,
    leads,
    onEvent,
    threshold: options.rebalanceThreshold,
    movesPerMinute: options.rebalanceMovesPerMinute,
  });
  const backups = createBackups({
    system,
    log,
    coordination,
    observer,
    catalog,
    distribution,
    settings,
    history,
    locks,
    assertLeading: office.assertLease,
    onEvent,
    notes: notes.names,
    clusterName: () => settings.current()?.settings.clusterName ?? cluster.clusterName,
    holdfastVersion: version,
    directory: resolve(context.dataDirectory, 'restore'),
  });
  const outlook = createOutlook({
    system,
    log,
    leads,
    states: () => observer.nodes().map(node => node.state),
    others: () => office.managers().filter(({ processId }) => processId !== context.processId),
    async ask({ address }) {
      const other = createMasterClient({ uri: address, token: secret, timeoutMs: options.nodeTimeoutMs });
      return (await other.nodes()).map(node => node.state);
    },
    resign: office.resign,
    patienceMs: options.leaseTtlMs,
  });
  const cancelOutlook = system.timers.every(options.livenessMs, () => void outlook.consider());
  const operations: MasterOperations = createOperations({
    system,
    cluster,
    version,
    uploadBytesMax: options.uploadBytesMax,
    settings,
    observer,
    catalog,
    reconciler,
    distribution,
    backups,
    deployments,
    jobs,
    versions: createVersionChange({ settings, catalog, deployments, restarts: restarts.current }),
    keys,
    maintenance,
    evenness,
    pause,
    events,
    restarts,
    leads,
    leader: office.leader,
    managers: office.managers,
    warnings: () => addressWarnings(uri, context.nodeName, settings.current()?.settings ?? null),
  });

  function onSettings(): void {
    const current = settings.current();
    const error = settings.error();
    onEvent({
      type: 'settings',
      at: isoTime(system.clock),
      etag: current?.etag ?? null,
      updatedBy: current?.updatedBy ?? null,
      error: error?.message ?? null,
    });
    if (current) observer.setNodes(current.settings);
    if (started) reconciler.request('the settings changed');
  }

  return {
    uri: () => uri,
    async start() {
      api = await createApi({
        title: 'Holdfast master API',
        system,
        secret,
        logger: fastifyLogger(log),
        routes: app => masterRoutes(app, operations),
        notReady: () => (settings.current() && observedOnce ? null : 'the cluster was not looked at yet'),
        metrics: async () => metrics.text(operations.status(), await jobs.list()),
      });
      uri = await listen(api, options);
      await office.start();
      await settings.reconcile();
      started = true;
      const acts = await office.open();
      if (!acts) reconciler.request('this manager stands by');
      rebalancer.start();
      context.reportHealth({ ready: true });
      log.info({ uri, leads: acts }, 'node manager started');
    },
    async stop() {
      started = false;
      cancelOutlook();
      notes.stop();
      await settings.stop();
      await rebalancer.stop();
      await reconciler.stop();
      observer.stop();
      await office.stop();
      events.close();
      if (api) await closeApi(api, system);
      api = null;
      uri = null;
    },
  };
}
