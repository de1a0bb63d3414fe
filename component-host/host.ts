/**
 * One component host, put together: log, workload, lifecycle, server, link to the agent. It does not touch the process
 * it runs in (signals, exit, standard input): that is `main.ts`'s, so that tests can run hosts in theirs.
 */
import { mkdirSync } from 'node:fs';
import {
  DEFAULTS,
  isoTime,
  type HostConfiguration,
  type HostLaunch,
  type HostStatus,
  type System,
} from '#core';
import { createFrameServer } from '#frames';
import { createAgentLink, type AgentLink } from './agent-link.ts';
import { createControl, type HostControl } from './control.ts';
import type { DataPlane } from './data-plane.ts';
import { Lifecycle } from './lifecycle.ts';
import { openHostLog, type HostLogger } from './log.ts';
import { hostState } from './machine.ts';
import { createHostCounters } from './metrics.ts';
import { createErrorList, describeHost } from './report.ts';
import { listen, type HostServer } from './server.ts';
import type { StartWatchdog } from './watchdog.ts';
import { Workload } from './workload.ts';

export interface Host {
  /** `http://ip:port` of the REST API and the data plane. */
  readonly uri: string;
  readonly log: HostLogger;
  status(): HostStatus;
  /** As the agent calls them, see `HostMethods`. */
  configure(configuration: HostConfiguration): Promise<HostStatus>;
  start(): Promise<HostStatus>;
  stop(): Promise<HostStatus>;
  /** Stops gracefully within `graceMs`, closes everything; then `ended` resolves. Idempotent, never rejects. */
  shutdown(params: { graceMs: number }): Promise<HostStatus>;
  /** For a process that has gone wrong: stops serving at once, without waiting for anything. */
  abort(): void;
  /** Resolves when the host has been shut down, by whomever, and holds nothing any more. */
  readonly ended: Promise<void>;
}

export interface HostOptions {
  launch: HostLaunch;
  system: System;
  /** How long one part may take to come up. Default 30 s. */
  startMs?: number;
  /** Watches over the event loop of a process that is the host's alone. Default: nobody does. */
  startWatchdog?: StartWatchdog;
  /** Ends a process that is the host's alone at once, because what it runs goes on without the right to. Default: nothing does. */
  endProcess?: (reason: string) => void;
}

/** How long the last answer to the agent may take to get out. */
const answerMs = 20;

/** Starts a host that awaits its configuration. @throws HoldfastError HF_CAPACITY, HF_STATE_UNUSABLE */
export async function startHost({
  launch,
  system,
  startMs = 30_000,
  startWatchdog,
  endProcess,
}: HostOptions): Promise<Host> {
  mkdirSync(launch.hostDirectory, { recursive: true, mode: 0o700 });
  const { log, close: closeLog } = openHostLog({
    directory: launch.hostDirectory,
    level: launch.logLevel,
    processId: launch.processId,
  });
  const startedAt = isoTime(system.clock);
  const counters = createHostCounters();
  const errors = createErrorList(system);
  const ended = Promise.withResolvers<void>();
  let server: HostServer | undefined;
  let dataPlane: DataPlane | undefined;

  const workload = new Workload({
    system,
    launch,
    log,
    hostUri: () => server!.uri,
    dataPlane: loadDataPlane,
    ...(startWatchdog ? { startWatchdog } : {}),
    ...(endProcess ? { endProcess } : {}),
    onChange: () => link.report(),
  });
  const lifecycle = new Lifecycle({
    system,
    log,
    runner: workload,
    onChange: () => link.report(),
    onFailure: cause => errors.add(cause),
    startMs,
    stopMs: DEFAULTS.stopGraceMs,
  });
  const control: HostControl = createControl({ launch, system, lifecycle, workload, status, shutdown });

  const link: AgentLink = createAgentLink({
    system,
    log,
    launch,
    pid: process.pid,
    status,
    methods: {
      configure: control.configure,
      start: () => control.start(),
      stop: () => control.stop(),
      async letGo() {
        await workload.letGo();
        return status();
      },
      ping: () => Promise.resolve(status()),
      checked(verdict) {
        workload.checked(verdict);
        return Promise.resolve(status());
      },
      shutdown,
    },
    onOrphaned(reason) {
      log.warn({ reason }, 'no agent any more; the host stops');
      void shutdown({ graceMs: DEFAULTS.stopGraceMs });
    },
  });

  function status(): HostStatus {
    return describeHost({ state: lifecycle.state, uri: server!.uri, workload, errors: errors.list() });
  }

  async function loadDataPlane(): Promise<DataPlane> {
    const { createDataPlane } = await import('./data-plane.ts');
    dataPlane ??= createDataPlane({
      system,
      log,
      counters,
      serving: () => workload.serving(),
    });
    return dataPlane;
  }

  const frames = createFrameServer({
    system,
    secret: launch.clusterSecret,
    // A port may have had another host before.
    serves: sessionId => dataPlane !== undefined && workload.serving()?.sessionId === sessionId,
    onRequest: (request, sessionId) => dataPlane!.handle(request, sessionId),
  });

  let shuttingDown: Promise<HostStatus> | undefined;
  function shutdown({ graceMs }: { graceMs: number }): Promise<HostStatus> {
    shuttingDown ??= (async () => {
      await lifecycle.shutdown(graceMs);
      const last = status();
      // Whoever asked gets the answer before the connections end.
      system.timers.after(0, () => void close(), { keepAlive: true });
      return last;
    })();
    return shuttingDown;
  }

  async function close(): Promise<void> {
    server?.dismissClients();
    // An agent that did not know would take a host that was asked to end for one that failed, and start it again.
    await link.tell();
    await system.timers.sleep(answerMs);
    link.close();
    await server?.close();
    await control
      .close()
      .catch((error: unknown) => log.error({ err: error }, 'the package store did not close'));
    log.info({ state: hostState(lifecycle.state) }, 'host ended');
    closeLog();
    ended.resolve();
  }

  try {
    server = await listen({
      host: launch.listenHost,
      firstPort: launch.firstPort,
      log,
      system,
      frames,
      async createApi() {
        const { createHostApi } = await import('./api.ts');
        return createHostApi({ launch, system, log, control, workload, counters, status, startedAt });
      },
    });
  } catch (error) {
    closeLog();
    throw error;
  }
  log.info({ uri: server.uri, nodeName: launch.nodeName, pid: process.pid }, 'host listens');
  link.open();

  return {
    uri: server.uri,
    log,
    status,
    configure: control.configure,
    start: () => control.start(),
    stop: () => control.stop(),
    shutdown,
    abort: () => workload.abort(),
    ended: ended.promise,
  };
}
