/**
 * The two ways in which sessions and processes meet. A process that is proven gone has its sessions ended at once, so
 * that its keys move on. And a process whose session expired by itself is looked at: a frozen one is ended, so that it
 * cannot go on holding a file while another one owns the key.
 */
import type { ProcessId, ResourceDirectory, Session, SessionId, System } from '#core';
import type { FastifyBaseLogger } from 'fastify';

const retryMs = 250;
/** Longer than any usual session lives: afterwards it has expired by itself. */
const giveUpMs = 60_000;

export interface SessionEnder {
  /** Resolves when the first try is over; goes on trying by itself when the store cannot be asked. Never rejects. */
  endSessions(processId: string): Promise<void>;
  close(): void;
}

export function createSessionEnder(
  system: System,
  log: FastifyBaseLogger,
  directory: ResourceDirectory,
): SessionEnder {
  let closed = false;

  async function attempt(processId: string): Promise<boolean> {
    try {
      const ended = await directory.endSessionsOf(processId as ProcessId);
      if (ended > 0) log.info({ processId, ended }, 'ended the sessions of a dead process');
      return true;
    } catch (error) {
      log.warn({ err: error, processId }, 'cannot end the sessions of a dead process');
      return false;
    }
  }

  async function insist(processId: string): Promise<void> {
    const deadlineMs = system.clock.monotonicMs() + giveUpMs;
    while (!closed && system.clock.monotonicMs() < deadlineMs) {
      await system.timers.sleep(retryMs);
      if (!closed && (await attempt(processId))) return;
    }
  }

  return {
    async endSessions(processId) {
      if (!(await attempt(processId))) void insist(processId);
    },
    close() {
      closed = true;
    },
  };
}

/** Calls with the process whose session expired, or ended with nobody telling us how. The result stops it. */
export function watchExpiredSessions(
  directory: ResourceDirectory,
  nodeName: string,
  onExpired: (processId: string) => void,
): () => void {
  const mine = new Map<SessionId, ProcessId>();
  let stopped = false;

  async function reload(): Promise<void> {
    const before = [...mine];
    let sessions: Session[];
    try {
      sessions = await directory.sessions();
    } catch {
      return; // the store cannot be asked: a `reset` follows when it can, and this is called again
    }
    const listed = new Set(sessions.map(session => session.sessionId));
    for (const session of sessions) {
      if (session.nodeName === nodeName) mine.set(session.sessionId, session.processId);
    }
    for (const [sessionId, processId] of before) {
      if (!stopped && !listed.has(sessionId) && mine.delete(sessionId)) onExpired(processId);
    }
  }

  const unwatch = directory.watch(event => {
    if (stopped) return;
    if (event.type === 'reset') {
      void reload();
    } else if (event.type === 'session-opened' && event.session.nodeName === nodeName) {
      mine.set(event.session.sessionId, event.session.processId);
    } else if (event.type === 'session-ended') {
      const processId = mine.get(event.sessionId);
      mine.delete(event.sessionId);
      if (processId !== undefined && event.reason === 'expired') onExpired(processId);
    }
  });
  void reload();
  return () => {
    stopped = true;
    unwatch();
  };
}
