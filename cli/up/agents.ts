/** Keeps the agents of a cluster running: restarts one that dies, with backoff, until all are stopped. */
import type { System } from '#core';
import { startAgent, type AgentOptions, type AgentProcess } from './agent-process.ts';

export interface Agents {
  /** Resolves when all listen; rejects with the first that cannot. */
  readonly ready: Promise<void>;
  /** Asks all to stop, with their hosts, and resolves when they have ended. Idempotent. */
  stop(): Promise<void>;
  /** Ends what is left at once. */
  kill(): void;
}

const backoffMs = 200;
const backoffMaxMs = 5_000;
/** An agent that lived this long was fine: the next backoff starts anew. */
const stableMs = 30_000;

/** How long to wait before the n-th restart in a row (from 0). Pure. */
export function restartDelayMs(attempt: number): number {
  return Math.min(backoffMaxMs, backoffMs * 2 ** attempt);
}

export function startAgents(
  options: readonly AgentOptions[],
  deps: { system: System; say: (text: string) => void; start?: (options: AgentOptions) => AgentProcess },
): Agents {
  const { system, say } = deps;
  const start = deps.start ?? startAgent;
  const stopping = new AbortController();
  const current = new Map<string, AgentProcess>();
  const first = options.map(one => {
    const agent = start(one);
    current.set(one.name, agent);
    return agent;
  });
  const supervised = options.map((one, index) => supervise(one, first[index]!));

  async function supervise(one: AgentOptions, agent: AgentProcess): Promise<void> {
    let attempt = 0;
    for (let running = agent; ; running = start(one), current.set(one.name, running)) {
      const startedAtMs = system.clock.monotonicMs();
      if (stopping.signal.aborted) running.stop(); // asked to stop while it was being started
      const { code, signal } = await running.exited;
      if (stopping.signal.aborted) return;
      if (system.clock.monotonicMs() - startedAtMs > stableMs) attempt = 0;
      const delayMs = restartDelayMs(attempt++);
      say(
        `the agent of ${one.name} ended (${signal ?? `exit code ${code}`}); starting it again in ${delayMs} ms`,
      );
      try {
        await system.timers.sleep(delayMs, stopping.signal);
      } catch {
        return; // stopped meanwhile
      }
    }
  }

  return {
    ready: Promise.all(first.map(agent => agent.ready)).then(() => {}),
    async stop() {
      stopping.abort();
      for (const agent of current.values()) agent.stop();
      await Promise.all(supervised);
    },
    kill() {
      stopping.abort();
      for (const agent of current.values()) agent.kill();
    },
  };
}
