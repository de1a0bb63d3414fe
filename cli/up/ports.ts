/** Checks up front that the ports are free, so that nothing is started that cannot come up. */
import { createServer } from 'node:net';
import { HoldfastError, type System } from '#core';
import type { Address } from './plan.ts';

const pollMs = 100;

/**
 * @param options.patienceMs how long to wait for ports that are taken: what a killed run left behind frees them soon
 * @throws HoldfastError HF_PORT_IN_USE with every port that is taken, and for whom it was meant
 */
export async function checkPorts(
  ports: readonly (Address & { for: string })[],
  options: { system: System; patienceMs: number; signal: AbortSignal; onWait: () => void },
): Promise<void> {
  const { clock, timers } = options.system;
  const deadlineMs = clock.monotonicMs() + options.patienceMs;
  let waiting = false;
  for (;;) {
    const taken = (await Promise.all(ports.map(async port => ((await isFree(port)) ? [] : [port])))).flat();
    if (taken.length === 0) return;
    if (clock.monotonicMs() >= deadlineMs) {
      const list = taken.map(port => `${port.port} (${port.host}, for ${port.for})`).join(', ');
      throw new HoldfastError(
        'HF_PORT_IN_USE',
        `another program listens on port${taken.length > 1 ? 's' : ''} ${list}`,
        { details: { ports: taken } },
      );
    }
    if (!waiting) options.onWait();
    waiting = true;
    await timers.sleep(pollMs, options.signal);
  }
}

function isFree({ host, port }: Address): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') return resolve(false);
      reject(
        new HoldfastError('HF_PORT_IN_USE', `cannot listen on ${host}:${port}: ${error.message}`, {
          cause: error,
        }),
      );
    });
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
