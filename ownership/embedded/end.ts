/**
 * Ends the coordinator of a state root at once, instead of waiting until it has been without clients for a while. For those
 * who know that nobody uses it any more: `holdfast up` after its last agent.
 */
import { connectChannel } from '#channel';
import { isRunning, processIdentity, signalProcess, type System } from '#core';
import { coordinationAddress } from './state-folder.ts';

const answerMs = 1_000;
const endMs = 3_000;
const pauseMs = 10;

/** Resolves when it has ended; does nothing when none runs. Never rejects: a coordinator without clients ends by itself anyway. */
export async function endCoordinator(stateRoot: string, system: System): Promise<void> {
  const pid = await pidOfCoordinator(coordinationAddress(stateRoot).socketPath);
  const identity = pid === null ? null : processIdentity(pid);
  if (!identity || !signalProcess(identity, 'SIGTERM')) return;
  const deadlineMs = system.clock.monotonicMs() + endMs;
  while (isRunning(identity) && system.clock.monotonicMs() < deadlineMs) await system.timers.sleep(pauseMs);
}

async function pidOfCoordinator(socketPath: string): Promise<number | null> {
  try {
    const channel = await connectChannel(socketPath);
    try {
      channel.listen();
      const { pid } = await channel.request<{ pid?: number }>('ping', {}, { timeoutMs: answerMs });
      return pid ?? null;
    } finally {
      channel.close();
    }
  } catch {
    return null; // nobody there
  }
}
