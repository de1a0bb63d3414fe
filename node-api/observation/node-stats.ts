/** The machine that a node runs on. */
import { statfs } from 'node:fs/promises';
import { availableParallelism, freemem, hostname, loadavg, networkInterfaces, totalmem } from 'node:os';
import type { NodeCoordination, NodeStats, ProcessStats } from '#core';

export async function nodeStats(
  node: { options: { nodeName: string; dataDirectory: string; version: string }; startedAt: string },
  processes: ProcessStats[],
  coordination: NodeCoordination,
): Promise<NodeStats> {
  const disk = await statfs(node.options.dataDirectory);
  return {
    nodeName: node.options.nodeName,
    version: node.options.version,
    startedAt: node.startedAt,
    environment: {
      platform: process.platform,
      arch: process.arch,
      nodeVersion: process.version,
      hostname: hostname(),
      cpus: availableParallelism(),
      loadAverage: loadavg(),
      totalMemoryBytes: totalmem(),
      freeMemoryBytes: freemem(),
      freeDiskBytes: disk.bavail * disk.bsize,
    },
    networkInterfaces: Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) =>
      addresses.map(({ address, family, internal }) => ({ name, address, family, internal })),
    ),
    processes,
    coordination,
  };
}
