/**
 * Whether this manager may act, and in whose name. The lease alone does not let it: what an earlier leader began is finished from what is written, so
 * everything is read again first, and the store is told who leads now. Whoever asks `leads` or `mark` before an effect gets the truth of that
 * very instant, also after the process was frozen.
 */
import {
  HoldfastError,
  isoTime,
  type ApiEvent,
  type DocumentStore,
  type Fence,
  type LeaderMark,
  type LeaseService,
  type Logger,
  type MasterStatus,
  type System,
} from '#core';
import { changeDocument, clusterNote, type ClusterNote, type LeaderNote } from '../cluster/notes.ts';
import { createLeadership } from './leadership.ts';
import { createMembership } from './membership.ts';

export interface Office {
  leads(): boolean;
  /** Whether it has the lease, be it still taking over. */
  holdsLease(): boolean;
  /** Throws HF_NOT_LEADER unless this manager holds the lease, be it still taking over. */
  assertLease(): void;
  /** Put on every mutation of a node. @throws HoldfastError HF_NOT_LEADER */
  mark(): LeaderMark;
  /** Null while nobody leads, as far as is known. */
  leader(): LeaderNote | null;
  managers(): MasterStatus['managers'];
  /** A node has seen a newer leader. */
  deposed(): void;
  /** Leaves the lease to another manager for a while. */
  resign(): Promise<void>;
  /** Asks for the lease once, without acting yet. */
  start(): Promise<void>;
  /** Acts from now on, whenever it holds the lease. Resolves to whether it does. */
  open(): Promise<boolean>;
  /** Resolves when the store knows, or is away. Idempotent. */
  stop(): Promise<void>;
}

/** How long a manager that vanished is still listed, in times to live of the leader lease. */
const memberTtls = 3;
const leaderDocument = 'leader';

export function createOffice(options: {
  documents: DocumentStore;
  leases: LeaseService;
  system: System;
  log: Logger;
  clusterName: string;
  processId: string;
  nodeName: string;
  leaseTtlMs: number;
  /** Where others reach this manager; null: not known, or not yet. */
  address: () => string | null;
  /** Reads all that a leader decides by. */
  readAgain: () => Promise<void>;
  onActing: () => void;
  onEvent: (event: ApiEvent) => void;
}): Office {
  const { documents, leases, system, log, processId, nodeName } = options;
  let identity: ClusterNote | null = null;
  let noted: LeaderNote | null = null;
  /** The fence under which everything has been read again. */
  let actingFence: bigint | null = null;
  let isOpen = false;
  let unwatch = () => {};

  const leadership = createLeadership({
    leases,
    system,
    log,
    holder: processId,
    ttlMs: options.leaseTtlMs,
    onChange(fence) {
      options.onEvent({ type: 'leader', at: isoTime(system.clock), processId, leading: fence !== null });
      if (fence !== null && isOpen) void takeOver(fence);
    },
  });
  const membership = createMembership({
    leases,
    system,
    log,
    ttlMs: memberTtls * options.leaseTtlMs,
    self() {
      const address = options.address();
      return address === null ? null : { processId, nodeName, address };
    },
  });

  function leads(): boolean {
    const fence = leadership.fence();
    return fence !== null && fence === actingFence;
  }

  function assertLease(): void {
    if (leadership.fence() === null) throw new HoldfastError('HF_NOT_LEADER', 'leadership was lost');
  }

  async function takeOver(fence: bigint): Promise<void> {
    try {
      identity = await clusterNote(documents, options.clusterName, system);
      await options.readAgain();
      await noteLeader(fence, identity.incarnation);
    } catch (error) {
      // The lease is of no use to a leader who cannot reach the store; whoever can takes it next.
      log.error({ error: String(error) }, 'taking over failed');
      if (leadership.fence() === fence) leadership.deposed();
      return;
    }
    if (leadership.fence() !== fence) return;
    actingFence = fence;
    options.onActing();
  }

  async function noteLeader(fence: bigint, incarnation: string): Promise<void> {
    const address = options.address() ?? '';
    const note: LeaderNote = { processId, nodeName, address, fence: String(fence), incarnation };
    await changeDocument<LeaderNote>(documents, leaderDocument, present => {
      assertLease();
      const newer = present?.incarnation === incarnation && BigInt(present.fence) > fence;
      return newer ? null : note;
    });
  }

  return {
    leads,
    holdsLease: () => leadership.fence() !== null,
    assertLease,
    mark() {
      if (!leads() || !identity) {
        throw new HoldfastError('HF_NOT_LEADER', 'this manager does not lead, or is still taking over');
      }
      return { ...identity, fence: actingFence as Fence };
    },
    leader() {
      // The note of one that does not lead any more is of no use to anybody.
      if (noted?.processId !== leadership.holder()) return null;
      // When it was written the first settings, which say where its node is, may not have been there yet.
      const member = membership.members().find(({ processId: one }) => one === noted?.processId);
      return { ...noted, address: member?.address ?? noted.address };
    },
    managers() {
      const leader = leads() ? processId : leadership.holder();
      return membership.members().map(member => ({ ...member, leads: member.processId === leader }));
    },
    deposed: () => leadership.deposed(),
    resign: () => leadership.resign(),
    async start() {
      unwatch = documents.watch(leaderDocument, document => {
        noted = JSON.parse(document.content) as LeaderNote;
      });
      membership.start();
      await leadership.start();
    },
    async open() {
      isOpen = true;
      const fence = leadership.fence();
      if (fence !== null) await takeOver(fence);
      return leads();
    },
    async stop() {
      isOpen = false;
      unwatch();
      await leadership.stop();
      await membership.stop();
    },
  };
}
