/**
 * Keeps a deposed leader from acting: each mutation by a node manager carries `clusterId:incarnation:fence`, and a node
 * refuses a mark that is older than the newest it has seen. Within one incarnation of the coordination store the
 * higher fence is newer. Another incarnation means that the store forgot and began again: it replaces the one before,
 * which never comes back. The new mark is on disk before what it allows is done.
 */
import { HoldfastError, parseLeaderMark, type LeaderMark } from '#core';
import type { LeaderRecord } from './records.ts';
import type { ProcessStore } from './process-store.ts';

const formerMax = 16;

export type LeaderDecision =
  { accepted: true; record: LeaderRecord; changed: boolean } | { accepted: false; newest: LeaderRecord };

/** Whether a leader with this mark may act, and what to remember then. Pure. */
export function judgeLeader(known: LeaderRecord | undefined, mark: LeaderMark): LeaderDecision {
  const fresh = { incarnation: mark.incarnation, fence: String(mark.fence) };
  if (!known) return { accepted: true, record: { ...fresh, former: [] }, changed: true };
  if (known.former.includes(mark.incarnation)) return { accepted: false, newest: known };
  if (known.incarnation !== mark.incarnation) {
    const former = [...known.former, known.incarnation].slice(-formerMax);
    return { accepted: true, record: { ...fresh, former }, changed: true };
  }
  if (mark.fence < BigInt(known.fence)) return { accepted: false, newest: known };
  const changed = mark.fence > BigInt(known.fence);
  return { accepted: true, record: changed ? { ...known, ...fresh } : known, changed };
}

/**
 * Checks the header of a mutation; an operator's call carries none and passes.
 * @throws HoldfastError HF_REQUEST_INVALID for a malformed mark, HF_LEADER_STALE for an old one
 */
export async function admitLeader(store: ProcessStore, header: string | undefined): Promise<void> {
  if (header === undefined) return;
  let mark: LeaderMark;
  try {
    mark = parseLeaderMark(header);
  } catch (cause) {
    throw new HoldfastError('HF_REQUEST_INVALID', `x-holdfast-leader: ${(cause as Error).message}`, {
      cause,
    });
  }
  const { leaders } = store.document;
  const known = Object.hasOwn(leaders, mark.clusterId) ? leaders[mark.clusterId] : undefined;
  const decision = judgeLeader(known, mark);
  if (!decision.accepted) {
    const { incarnation, fence } = decision.newest;
    throw new HoldfastError('HF_LEADER_STALE', 'a newer leader has spoken to this node', {
      details: { yours: header, newest: `${mark.clusterId}:${incarnation}:${fence}` },
    });
  }
  leaders[mark.clusterId] = decision.record;
  if (decision.changed) await store.save();
  else await store.settled(); // an equal mark may be on its way to disk right now
}
