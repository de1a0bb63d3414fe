/** Where the master API listens, and how it ends. */
import type { AddressInfo } from 'node:net';
import type { Api } from '#http-api';
import { HoldfastError, type System } from '#core';
import type { ManagerSettings } from '../manager-settings.ts';

const lastAnswersMs = 500;

/** Answers under way get a moment; then every connection is cut: one that is kept alive would be waited for. */
export async function closeApi(api: Api, system: System): Promise<void> {
  const ended = api.close();
  await Promise.race([ended, system.timers.sleep(lastAnswersMs)]);
  api.server.closeAllConnections();
  await ended;
}

/**
 * Resolves to what it was told to listen on: for every address of the machine fastify names the loopback one, which nobody else reaches.
 * @throws HoldfastError HF_PORT_IN_USE
 */
export async function listen(
  api: Api,
  { host, port }: Pick<ManagerSettings, 'host' | 'port'>,
): Promise<string> {
  try {
    await api.listen({ host, port });
    const { port: taken } = api.server.address() as AddressInfo;
    return `http://${host.includes(':') ? `[${host}]` : host}:${taken}`;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== 'EADDRINUSE') throw cause;
    throw new HoldfastError(
      'HF_PORT_IN_USE',
      `another program listens on ${host}:${port}; set port for node-manager`,
      {
        details: { host, port },
        cause,
      },
    );
  }
}
