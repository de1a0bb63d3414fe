/**
 * Puts the agent together, and takes it apart. What is opened is closed in reverse order, also when starting fails half
 * way. The API listens before an earlier agent's processes are taken over (so that a port in use is noticed while
 * nothing has been touched yet), but answers after.
 */
import { join } from 'node:path';
import { createApi, type Api } from '#http-api';
import { openPackageStore } from '#package-manager';
import {
  DEFAULTS,
  HoldfastError,
  isoTime,
  lockFolder,
  storeFingerprint,
  type HostStatus,
  type System,
} from '#core';
import type { NodeContext } from './api/context.ts';
import { nodeRoutes } from './api/routes.ts';
import { findAddress } from './coordination/address-file.ts';
import { createAssignment, requireOwnStore } from './coordination/assignment.ts';
import { openStoreConnection } from './coordination/store-connection.ts';
import { createCondition } from './observation/condition.ts';
import { createEventLog } from './observation/event-log.ts';
import { limitLogs } from './observation/log-files.ts';
import { memoryOf } from './observation/memory-of.ts';
import { createMetrics } from './observation/metrics.ts';
import { createProcessStatistics } from './observation/process-stats.ts';
import { resolveOptions, type NodeAgentOptions, type ResolvedOptions } from './options.ts';
import { prepareFolders } from './state-folders.ts';
import { openProcessStore } from './store/process-store.ts';
import { createEntries, usesPackage } from './supervision/entries.ts';
import type { HostProcess } from './supervision/host-process.ts';
import { createHosts } from './supervision/hosts.ts';
import { createLaunchQueue } from './supervision/launch-queue.ts';
import { recover } from './supervision/recovery.ts';
import { createSessionEnder, watchExpiredSessions } from './supervision/session-end.ts';
import { createSpares } from './supervision/spares.ts';
import { currentPackage } from './supervision/start-plan.ts';
import { stopHost, within } from './supervision/stop-host.ts';
import { Supervisor } from './supervision/supervisor.ts';
import { rm } from 'node:fs/promises';

export interface NodeAgent {
  /** Where the REST API is, `http://host:port`. */
  readonly uri: string;
  /**
   * Ends the agent. With `stopHosts` all hosts are stopped first, gracefully, within 8 s in total; without it they run on, and
   * the next agent on this folder adopts them if it comes within the hosts' `orphanGraceMs`. Idempotent.
   */
  close(how: { stopHosts: boolean }): Promise<void>;
}

/** A process that does nothing but write fills some hundred megabytes in a second. */
const logLimitEveryMs = 2_000;
/** Spares are given up when memory gets short. */
const pressureEveryMs = 5_000;
const lastAnswersMs = 500;
/** Well below the two seconds that requests are held beyond a session's time. */
const letGoMs = 1_000;

/**
 * Starts the agent of one node; resolves when it answers and has taken over what an earlier agent left.
 * @throws HoldfastError HF_ALREADY_RUNNING, HF_PORT_IN_USE, HF_STATE_UNUSABLE, HF_WRONG_STATE, HF_COORDINATION_UNAVAILABLE (the
 * embedded store did not start; one that is elsewhere may be away, and is tried again until it comes)
 */
export async function startNodeAgent(given: NodeAgentOptions): Promise<NodeAgent> {
  const options = resolveOptions(given);
  const opened = new AsyncDisposableStack();
  try {
    return await assemble(options, opened);
  } catch (error) {
    await opened.disposeAsync();
    throw error;
  }
}

async function assemble(options: ResolvedOptions, opened: AsyncDisposableStack): Promise<NodeAgent> {
  const { system, log, dataDirectory, stateRoot } = options;
  await prepareFolders(dataDirectory);
  const lock = lockFolder(dataDirectory);
  opened.defer(() => lock.release());

  const found = await findAddress({ file: options.coordinationFile, dataDirectory, stateRoot });
  if (found.readableByOthers)
    log.warn({ path: found.path }, 'others can read the address of the coordination store');
  const store = await openProcessStore(join(dataDirectory, 'processes.json'), log);
  opened.defer(() => store.settled());
  requireOwnStore(Object.values(store.document.hosts), found, stateRoot);
  // Open from now on: when a process dies, its session must end within milliseconds.
  const connection = await openStoreConnection({ address: found.address, stateRoot, system, log });
  opened.defer(() => connection.close());
  const packages = await openPackageStore({
    directory: join(dataDirectory, 'packages'),
    system,
    log,
    inUse: (name, version) => entries.all().some(entry => usesPackage(entry, name, version)),
  });
  opened.defer(() => packages.close());

  const sessionEnder = createSessionEnder(system, log, connection.directory);
  opened.defer(() => sessionEnder.close());
  const { endSessions } = sessionEnder;
  const events = createEventLog(system);
  const onStatus = (host: HostProcess, status: HostStatus) => {
    const entry = entries.byHost(host);
    if (!entry) return;
    if (status.job) {
      entry.record.job = status.job;
      entries.save(); // how a run ended must outlive its process, and this one
    }
    entries.publish(entry, 'process-status', { hostState: status.state, ready: status.health.ready });
  };
  const coordination = () => connection.address;
  const hosts = createHosts({ options, store, coordination, endSessions, onStatus });
  opened.defer(() => hosts.close());
  const { directoryOf } = hosts;
  const entries = createEntries({ system, log, store, events, directoryOf });
  const spares = createSpares({
    system,
    log,
    perProfile: options.warmSpares,
    memoryBytes: options.spareMemoryMb * 1024 * 1024,
    inUse: () => entries.all().map(entry => entry.record.request.memoryMb ?? null),
    memoryOf,
    hostPackage: () => usableHostPackage(packages, options.hostPackageName),
    store: () => storeFingerprint(connection.address),
    spawn: (hostPackage, profile) => hosts.spawn(hostPackage, profile),
    forget: processId => {
      rm(directoryOf(processId), { recursive: true, force: true }).catch((error: unknown) => {
        log.warn({ err: error, processId }, 'cannot remove the folder of a spare host');
      });
    },
  });
  const assignment = createAssignment({
    system,
    log,
    found,
    connection,
    dataDirectory,
    running: () => entries.all().length,
    sessionsToEnd: sessionEnder.waiting,
    onReplaced: () => spares.refill(),
  });
  const condition = createCondition({
    nodeName: options.nodeName,
    dataDirectory,
    limits: options,
    ports: () => ({ used: hosts.all().length, total: DEFAULTS.hostPortsTried }),
  });
  const metrics = createMetrics({ entries, packages, events, spares: spares.ready });
  const supervisor = new Supervisor({
    system,
    log,
    store,
    hosts,
    spares,
    launches: createLaunchQueue(options.launchesMax),
    entries,
    requireDisk: () => condition.requireDisk(0),
    planner: { packages, stateRoot, hostPackageName: options.hostPackageName, coordination },
    startTimeoutMs: options.startTimeoutMs,
    onStartDuration: metrics.observeStart,
  });

  const recovery = Promise.withResolvers<void>();
  recovery.promise.catch(() => {}); // told by `startNodeAgent` itself
  let ready = false;
  const closing = new AbortController();
  const context: NodeContext = {
    options,
    system,
    log,
    startedAt: isoTime(system.clock),
    store,
    packages,
    entries,
    supervisor,
    spares,
    assignment,
    events,
    condition,
    statistics: createProcessStatistics(system),
    directoryOf,
    recovered: recovery.promise,
    closing: closing.signal,
  };
  const api = await createApi({
    title: 'Holdfast node API',
    system,
    secret: options.secret,
    logger: log,
    routes: app => nodeRoutes(app, context),
    notReady: () => (ready ? null : 'taking over the processes of an earlier agent'),
    metrics: metrics.text,
  });
  opened.defer(() => closeApi(api, options));
  const uri = await listen(api, options.listen);

  const { adoptionTimeoutMs } = options;
  try {
    await recover({ system, log, store, hosts, entries, spares, supervisor, endSessions, adoptionTimeoutMs });
    recovery.resolve();
  } catch (error) {
    recovery.reject(error);
    throw error;
  }
  opened.defer(
    watchExpiredSessions(
      { system, directory: connection.directory, nodeName: options.nodeName },
      // Only Redis can forget; its hosts tell it what they hold within a session's time.
      () => (connection.address.kind === 'redis' ? connection.address.sessionTtlMs : 0),
      processId => void endUnlessItLetsGo(system, hosts.get(processId)),
    ),
  );
  let limiting: Promise<void> | null = null;
  opened.defer(
    system.timers.every(logLimitEveryMs, () => {
      limiting ??= limitLogs(join(dataDirectory, 'hosts'))
        .catch((error: unknown) => log.warn({ err: error }, 'cannot limit the log files of hosts'))
        .finally(() => (limiting = null));
    }),
  );
  opened.defer(
    system.timers.every(pressureEveryMs, () => {
      void condition.pressure().then(
        found => spares.noteMemory(found.some(({ kind }) => kind === 'memory')),
        (error: unknown) => log.warn({ err: error }, 'cannot look at what the node is short of'),
      );
    }),
  );
  spares.refill();
  ready = true;
  log.info({ uri, nodeName: options.nodeName, processes: entries.all().length }, 'the node agent is ready');

  let closed: Promise<void> | null = null;
  return {
    uri,
    close({ stopHosts }) {
      closed ??= close(stopHosts);
      return closed;
    },
  };

  async function close(stopHosts: boolean): Promise<void> {
    log.info({ stopHosts }, 'the node agent is stopping');
    ready = false;
    supervisor.close();
    spares.close();
    await hosts.settle();
    if (stopHosts) {
      const graceMs = DEFAULTS.stopGraceMs;
      const reason = 'the node agent is stopping';
      const supervised = new Set(entries.all().map(entry => entry.host));
      const others = hosts.all().filter(host => !supervised.has(host));
      const outcome = within(
        system,
        DEFAULTS.stopMs - lastAnswersMs,
        Promise.all([
          supervisor.kill(entries.all(), graceMs),
          ...others.map(host => stopHost(system, host, { graceMs: 1_000, reason })),
        ]),
      );
      if (!(await outcome)) log.error({}, 'not every process has ended in time');
    }
    closing.abort();
    await opened.disposeAsync();
  }
}

/** A session expires with its host frozen, or with the coordinator out of reach: then the host is fine, and goes on. */
async function endUnlessItLetsGo(system: System, host: HostProcess | undefined): Promise<void> {
  if (!host || host.endExpected) return;
  await within(system, letGoMs, host.hello); // an adopted one may be about to connect
  if ((await host.letsGo(letGoMs)) || host.endExpected) return;
  host.kill('killed by its agent: its session had expired');
}

/** The current version of the host package, unless it cannot be used: a start says so, spares just wait. */
function usableHostPackage(packages: Parameters<typeof currentPackage>[0], name: string) {
  const found = currentPackage(packages, name);
  return found?.manifest.kind === 'host' && found.status === 'ok' ? found : null;
}

/** @throws HoldfastError HF_PORT_IN_USE naming the port */
async function listen(api: Api, { host, port }: { host: string; port: number }): Promise<string> {
  try {
    await api.listen({ host, port });
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') {
      throw new HoldfastError(
        'HF_PORT_IN_USE',
        `another program listens on ${host}:${port}; stop it or choose another port`,
        {
          details: { host, port },
          cause,
        },
      );
    }
    throw new HoldfastError('HF_USAGE', `cannot listen on ${host}:${port}: ${message}`, { cause });
  }
  const address = api.server.address();
  const actual = typeof address === 'object' && address ? address.port : port;
  return `http://${host.includes(':') ? `[${host}]` : host}:${actual}`;
}

/** Answers under way get a moment; then every connection is cut. */
async function closeApi(api: Api, { system }: ResolvedOptions): Promise<void> {
  const ended = api.close();
  await within(system, lastAnswersMs, ended);
  api.server.closeAllConnections();
  await ended;
}
