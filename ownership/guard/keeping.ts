/**
 * What a host asks for when its session is lost, and what it keeps when another is granted. Asked for is every key that may be
 * open in the component; those that are being verified, or are on their way out with nothing open, are not worth it.
 */
import type { Fence, ResourceKey } from '#core';
import type { KeyState } from './key.ts';

/** A key as it is held here. */
export interface HeldHere {
  readonly key: ResourceKey;
  readonly fence: Fence;
  readonly openId: number;
  /** Whether it was opened, by this host or one before. */
  readonly opened: boolean;
}

export function heldKeys(keys: ReadonlyMap<ResourceKey, KeyState>): HeldHere[] {
  const held: HeldHere[] = [];
  for (const [key, state] of keys) {
    if (!isHeld(state)) continue;
    const { fence, openId } = state;
    held.push({ key, fence, openId, opened: state.phase !== 'opening' || state.hadOwner });
  }
  return held;
}

/** Those of the keys that are lost: refused, never asked for, or under another fence than was asked for. */
export function lostKeys(
  keys: ReadonlyMap<ResourceKey, KeyState>,
  asked: ReadonlyMap<ResourceKey, Fence>,
  refused: readonly ResourceKey[],
): ResourceKey[] {
  const gone = new Set(refused);
  const lost: ResourceKey[] = [];
  for (const [key, state] of keys) {
    if (!isHeld(state) || gone.has(key) || asked.get(key) !== state.fence) lost.push(key);
  }
  return lost;
}

function isHeld(state: KeyState): boolean {
  switch (state.phase) {
    case 'opening':
    case 'confirming':
    case 'ready':
    case 'draining':
      return true;
    case 'closing':
      return state.after.type !== 'lost' && state.after.type !== 'late';
    case 'verifying':
    case 'raising':
    case 'discarding':
    case 'releasing':
    case 'transferring':
      return false;
  }
}
