/** Which coordination store a cluster has is a setting; everybody connects here. */
import type { Coordination, CoordinationAddress } from '#core';
import { connectEmbedded, type ConnectOptions } from './embedded/client.ts';
import { silentLog } from './silent-log.ts';

export type { ConnectOptions } from './embedded/client.ts';

/**
 * Connects to the coordination store, and stays connected (reconnecting as often as needed) until `close`.
 * @throws HoldfastError HF_COORDINATION_UNAVAILABLE when nobody answers within a second; it names neither URL nor password
 */
export async function connectCoordination(
  address: CoordinationAddress,
  options: ConnectOptions,
): Promise<Coordination> {
  if (address.kind === 'embedded') return connectEmbedded(address, options);
  // Loaded only where it is used: a Redis client costs every process of an embedded cluster its start.
  const { connectRedis } = await import('./redis/coordination.ts');
  return connectRedis(address, { system: options.system, log: options.log ?? silentLog });
}
