/**
 * What the node is short of. While it is, the node manager gives it no more copies, and the agent itself takes no upload and starts nothing that
 * needs disk, before anything of it is half written. Cheap to ask: one look at the file system, no look at processes.
 */
import { statfs } from 'node:fs/promises';
import { freemem, totalmem } from 'node:os';
import { HoldfastError, type NodePressure } from '#core';

export interface Condition {
  pressure(): Promise<NodePressure[]>;
  /** @throws HoldfastError HF_CAPACITY when this would leave the disk with less than it must keep free */
  requireDisk(bytes: number): Promise<void>;
}

interface Free {
  free: number;
  total: number;
}

export interface ConditionFacts {
  disk: Free;
  memory: Free;
  /** Of the ports that hosts try. */
  ports: Free;
}

export interface ConditionLimits {
  /** What must stay free; null: 2 % of it, at least 256 MiB of disk and 128 MiB of memory. */
  diskFreeBytesMin: number | null;
  memoryFreeBytesMin: number | null;
}

const MiB = 1024 * 1024;
const sharePart = 0.02;
/** A host that replaces another one needs a port beside it, and so does a warm spare. */
const portsFreeMin = 8;

/** Pure. */
export function pressureOf(
  { disk, memory, ports }: ConditionFacts,
  limits: ConditionLimits,
  folder: string,
): NodePressure[] {
  const diskMin = diskFreeMin(disk, limits);
  const memoryMin = limits.memoryFreeBytesMin ?? Math.max(sharePart * memory.total, 128 * MiB);
  const found: NodePressure[] = [];
  if (disk.free < diskMin)
    found.push({ kind: 'disk', message: `out of disk: ${outOf(disk, diskMin, folder)}` });
  if (memory.free < memoryMin) {
    found.push({
      kind: 'memory',
      message: `out of memory: ${inMiB(memory.free)} of ${inMiB(memory.total)} are available, at least ${inMiB(memoryMin)} must be`,
    });
  }
  if (ports.free < Math.min(portsFreeMin, ports.total)) {
    found.push({
      kind: 'ports',
      message: `out of ports: ${ports.free} of the ${ports.total} that hosts try are free, at least ${Math.min(portsFreeMin, ports.total)} must be`,
    });
  }
  return found;
}

function diskFreeMin(disk: Free, { diskFreeBytesMin }: ConditionLimits): number {
  return diskFreeBytesMin ?? Math.max(sharePart * disk.total, 256 * MiB);
}

function outOf(disk: Free, min: number, folder: string): string {
  return `${inMiB(disk.free)} of ${inMiB(disk.total)} are free under ${folder}, at least ${inMiB(min)} must be`;
}

function inMiB(bytes: number): string {
  return `${Math.floor(bytes / MiB)} MiB`;
}

/** A container may have less than its machine. */
function memoryTotal(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

export function createCondition(options: {
  nodeName: string;
  dataDirectory: string;
  limits: ConditionLimits;
  /** How many hosts have a port, and how many ports they may try. */
  ports: () => { used: number; total: number };
}): Condition {
  const { nodeName, dataDirectory, limits } = options;

  async function lookAtDisk(): Promise<Free> {
    const { bavail, blocks, bsize } = await statfs(dataDirectory);
    return { free: bavail * bsize, total: blocks * bsize };
  }

  return {
    async pressure() {
      const { used, total } = options.ports();
      // What the kernel would give to a new process: caches count as free, a limit of the container counts as the end.
      const memory = { free: Math.min(freemem(), process.availableMemory()), total: memoryTotal() };
      const ports = { free: Math.max(0, total - used), total };
      return pressureOf({ disk: await lookAtDisk(), memory, ports }, limits, dataDirectory);
    },
    async requireDisk(bytes) {
      const disk = await lookAtDisk();
      const min = diskFreeMin(disk, limits);
      if (disk.free - bytes >= min) return;
      const needed = bytes === 0 ? '' : `; this needs ${inMiB(bytes)} more`;
      throw new HoldfastError(
        'HF_CAPACITY',
        `${nodeName} is out of disk: ${outOf(disk, min, dataDirectory)}${needed}. Remove packages that nothing uses, or give it more room`,
        { details: { freeBytes: disk.free, freeBytesMin: min } },
      );
    },
  };
}
