/**
 * The host's lifeline to its agent: says hello, answers the agent's calls, reports changes. When the connection goes,
 * it connects again; when there has been no agent for `orphanGraceMs`, the host is an orphan.
 */
import type { AgentMethods, HostLaunch, HostMethods, HostStatus, Logger, System } from '#core';
import { connectChannel, type Channel } from '#channel';

export interface AgentLinkOptions {
  system: System;
  log: Logger;
  launch: HostLaunch;
  pid: number;
  status: () => HostStatus;
  /** What the agent may call; each may answer later. */
  methods: { [Name in keyof HostMethods]: (params: Parameters<HostMethods[Name]>[0]) => Promise<HostStatus> };
  /** Called once: no agent for too long, or one that does not want this host. */
  onOrphaned: (reason: string) => void;
}

export interface AgentLink {
  /** Connects in the background, from now until `close`. */
  open(): void;
  /** Tells the agent the present status, soon; changes in quick succession make one message. */
  report(): void;
  /** Tells the agent the present status at once. Resolves when it knows it, or cannot be told. */
  tell(): Promise<void>;
  /** Idempotent. */
  close(): void;
}

const retryFirstMs = 50;
const retryMaxMs = 500;
const reportEveryMs = 100;
/** How long an agent may take to acknowledge a status. */
const acknowledgedMs = 1_000;

export function createAgentLink(options: AgentLinkOptions): AgentLink {
  const { system, log, launch } = options;
  const ending = new AbortController();
  let channel: Channel | null = null;
  let cancelOrphan: (() => void) | null = null;
  let cancelReport: (() => void) | null = null;
  let reportedAtMs = Number.NEGATIVE_INFINITY;
  /** The last status that the agent was told, to leave out repetitions. */
  let reported = '';

  async function keepConnected(): Promise<void> {
    let retryMs = retryFirstMs;
    armOrphan();
    while (!ending.signal.aborted) {
      const accepted = await connectOnce();
      if (accepted === false) return orphaned('the agent does not know this host');
      retryMs = accepted === true ? retryFirstMs : Math.min(retryMs * 2, retryMaxMs);
      try {
        await system.timers.sleep(retryMs, ending.signal);
      } catch {
        return; // closed while it waited
      }
    }
  }

  /** Resolves when the connection is over: true if the agent had accepted, false if it refused, null if there was none. */
  async function connectOnce(): Promise<boolean | null> {
    let opened: Channel;
    try {
      opened = await connectChannel(launch.agentSocket);
    } catch {
      return null; // not there (yet): tried again soon, and counted by the orphan timer
    }
    if (ending.signal.aborted) return (opened.close(), null);
    for (const name of ['configure', 'start', 'stop', 'letGo', 'ping', 'checked', 'shutdown'] as const) {
      opened.handle(name, (params: never) => options.methods[name](params));
    }
    opened.listen();
    try {
      const status = options.status();
      const hello: Parameters<AgentMethods['hello']>[0] = {
        processId: launch.processId,
        hostSecret: launch.hostSecret,
        pid: options.pid,
        status,
      };
      const answer = await opened.request<ReturnType<AgentMethods['hello']>>('hello', hello);
      if (!answer.accepted) return (opened.close(), false);
      reported = JSON.stringify(status);
    } catch (error) {
      log.debug({ err: error }, 'the agent did not answer the hello');
      opened.close();
      return null;
    }
    channel = opened;
    cancelOrphan?.();
    log.debug({}, 'connected to the agent');
    report();
    await opened.closed;
    channel = null;
    if (!ending.signal.aborted) {
      log.warn({ orphanGraceMs: launch.orphanGraceMs }, 'lost the agent');
      armOrphan();
    }
    return true;
  }

  function armOrphan(): void {
    cancelOrphan?.();
    cancelOrphan = system.timers.after(
      launch.orphanGraceMs,
      () => orphaned(`no agent for ${launch.orphanGraceMs} ms`),
      { keepAlive: true },
    );
  }

  function orphaned(reason: string): void {
    if (ending.signal.aborted) return;
    close();
    options.onOrphaned(reason);
  }

  function report(): void {
    if (cancelReport || ending.signal.aborted) return;
    const waitMs = Math.max(0, reportedAtMs + reportEveryMs - system.clock.monotonicMs());
    cancelReport = system.timers.after(waitMs, () => {
      cancelReport = null;
      const status = options.status();
      const text = JSON.stringify(status);
      if (!channel || text === reported) return;
      reported = text;
      reportedAtMs = system.clock.monotonicMs();
      channel.notify('status', status);
    });
  }

  async function tell(): Promise<void> {
    if (!channel || ending.signal.aborted) return;
    cancelReport?.();
    cancelReport = null;
    const status = options.status();
    reported = JSON.stringify(status);
    try {
      await channel.request('status', status, { timeoutMs: acknowledgedMs });
    } catch (error) {
      log.debug({ err: error }, 'the agent did not acknowledge the status');
    }
  }

  function close(): void {
    ending.abort();
    cancelOrphan?.();
    cancelReport?.();
    channel?.close();
  }

  return { open: () => void keepConnected(), report, tell, close };
}
