/** Whether a node runs on the machine of the command: only then both see the same files, and the same loopback addresses. */
import { lookup } from 'node:dns/promises';
import { networkInterfaces } from 'node:os';

export async function isOnThisMachine(nodeUri: string): Promise<boolean> {
  const host = new URL(nodeUri).hostname.replace(/^\[|\]$/g, '');
  const found = await lookup(host, { all: true }).catch(() => []);
  const own = new Set(
    Object.values(networkInterfaces()).flatMap(all => (all ?? []).map(({ address }) => address)),
  );
  return found.some(({ address }) => address.startsWith('127.') || own.has(address));
}
