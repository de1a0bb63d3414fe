/**
 * The two ways in which sessions and processes meet. A process that is proven gone has its sessions ended at once, so
 * that its keys move on. And a process whose session expired by itself is looked at: a frozen one is ended, so that it
 * cannot go on holding a file while another one owns the key.
 */
import {
  LIMITS,
  type ProcessId,
  type ResourceDirectory,
  type Session,
  type SessionId,
  type System,
} from '#core';
import type { FastifyBaseLogger } from 'fastify';

const retryMs = 250;
/** No session lives longer without its host: afterwards it has expired by itself. */
const giveUpMs = LIMITS.sessionTtlMsMax;
/** More deaths than a machine has hosts; what is dropped expires by itself. */
const waitingMax = 10_000;

export interface SessionEnder {
  /** Resolves when the first try is over; goes on trying by itself when the store cannot be asked. Never rejects. */
  endSessions(processId: string): Promise<void>;
  /** How many wait for the store. */
  waiting(): number;
  close(): void;
}

export function createSessionEnder(
  system: System,
  log: FastifyBaseLogger,
  directory: Pick<ResourceDirectory, 'endSessionsOf' | 'watch'>,
): SessionEnder {
  /** Processes whose sessions could not be ended, oldest first, and until when it is worth trying. */
  const waiting = new Map<string, number>();
  const closing = new AbortController();
  /** Cuts a pause short when the store has come back; null while nothing waits. */
  let wake: (() => void) | null = null;
  const unwatch = directory.watch(event => {
    if (event.type === 'reset') wake?.();
  });

  async function attempt(processId: string): Promise<unknown> {
    try {
      const ended = await directory.endSessionsOf(processId as ProcessId);
      if (ended > 0) log.info({ processId, ended }, 'ended the sessions of a dead process');
      return null;
    } catch (error) {
      return error;
    }
  }

  /** One after the other, and from the front again after a failure: a store that is away is not asked for each of them. */
  async function insist(): Promise<void> {
    while (waiting.size > 0 && !closing.signal.aborted) {
      const { promise: woken, resolve } = Promise.withResolvers<void>();
      wake = resolve;
      const pausing = new AbortController();
      const pause = system.timers.sleep(retryMs, AbortSignal.any([pausing.signal, closing.signal]));
      await Promise.race([woken, pause.catch(() => {})]); // aborted: the loop looks why
      pausing.abort();
      for (const [processId, untilMs] of waiting) {
        if (closing.signal.aborted) return;
        const late = system.clock.monotonicMs() >= untilMs;
        if (!late && (await attempt(processId)) !== null) break;
        waiting.delete(processId);
      }
    }
    wake = null;
  }

  return {
    async endSessions(processId) {
      const failure = await attempt(processId);
      if (failure === null || closing.signal.aborted) return;
      log.warn({ err: failure, processId }, 'cannot end the sessions of a dead process; it is tried again');
      const idle = waiting.size === 0;
      const [oldest] = waiting.keys();
      if (waiting.size >= waitingMax && oldest !== undefined) waiting.delete(oldest);
      waiting.set(processId, system.clock.monotonicMs() + giveUpMs);
      if (idle) void insist();
    },
    waiting: () => waiting.size,
    close() {
      closing.abort();
      unwatch();
    },
  };
}

/**
 * Calls with the process whose session expired, or ended with nobody telling us how. The result stops it.
 * A process with another session is well. `patienceMs` is for a store that can forget: its hosts bring their sessions back within that
 * time, and it gives nothing of theirs to others meanwhile.
 */
export function watchExpiredSessions(
  options: { system: System; directory: Pick<ResourceDirectory, 'sessions' | 'watch'>; nodeName: string },
  patienceMs: () => number,
  onExpired: (processId: string) => void,
): () => void {
  const { system, directory, nodeName } = options;
  const mine = new Map<SessionId, ProcessId>();
  const stopping = new AbortController();

  async function list(): Promise<Session[] | null> {
    try {
      return await directory.sessions();
    } catch {
      return null; // the store cannot be asked: a `reset` follows when it can, and `reload` is called again
    }
  }

  async function reload(): Promise<void> {
    const before = [...mine];
    const sessions = await list();
    if (!sessions || stopping.signal.aborted) return;
    const listed = new Set(sessions.map(session => session.sessionId));
    for (const session of sessions) {
      if (session.nodeName === nodeName) mine.set(session.sessionId, session.processId);
    }
    const lost = before.filter(([sessionId]) => !listed.has(sessionId) && mine.delete(sessionId));
    const processes = lost.map(([, processId]) => processId).filter(processId => !has(processId));
    if (processes.length > 0) await tellUnlessTheyReturn(processes);
  }

  async function tellUnlessTheyReturn(processes: ProcessId[]): Promise<void> {
    const ms = patienceMs();
    if (ms > 0) {
      const waited = await system.timers.sleep(ms, stopping.signal).then(
        () => true,
        () => false, // stopped
      );
      if (!waited) return;
      for (const session of (await list()) ?? []) {
        if (session.nodeName === nodeName) mine.set(session.sessionId, session.processId);
      }
    }
    for (const processId of processes) {
      if (!stopping.signal.aborted && !has(processId)) onExpired(processId);
    }
  }

  function has(processId: ProcessId): boolean {
    return [...mine.values()].includes(processId);
  }

  const unwatch = directory.watch(event => {
    if (stopping.signal.aborted) return;
    if (event.type === 'reset') {
      void reload();
    } else if (event.type === 'session-opened' && event.session.nodeName === nodeName) {
      mine.set(event.session.sessionId, event.session.processId);
    } else if (event.type === 'session-ended') {
      const processId = mine.get(event.sessionId);
      mine.delete(event.sessionId);
      if (processId !== undefined && event.reason === 'expired' && !has(processId)) onExpired(processId);
    }
  });
  void reload();
  return () => {
    stopping.abort();
    unwatch();
  };
}
