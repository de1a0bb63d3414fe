/** What the guard keeps for one opening of a key: the `Resource` that the component got, its handler, its signal. */
import { HoldfastError, type Fence, type Resource, type ResourceHandler, type ResourceKey } from '#core';

export interface OpenResource {
  readonly resource: Resource;
  readonly right: AbortController;
  /** Set when the component has opened it. */
  handler: ResourceHandler | null;
}

/** `owned` tells whether this opening may act at this moment. */
export function createOpenResource(
  facts: { key: ResourceKey; fence: Fence; hadOwner: boolean },
  owned: () => boolean,
): OpenResource {
  const right = new AbortController();
  const resource: Resource = Object.freeze({
    ...facts,
    signal: right.signal,
    assertOwned() {
      if (right.signal.aborted || !owned()) throw notOwner(facts.key);
    },
  });
  return { resource, right, handler: null };
}

export function notOwner(key: ResourceKey): HoldfastError {
  return new HoldfastError('HF_NOT_OWNER', 'this host does not own the key', { details: { key } });
}

/** The fence that the resource holds, as an HF_FENCED error tells it in `details.fence`; null for any other error. */
export function fenceOfRefusal(error: unknown): Fence | null {
  if (!(error instanceof Error) || !('code' in error) || error.code !== 'HF_FENCED') return null;
  const details = 'details' in error ? (error.details as { fence?: unknown } | null) : null;
  const fence = details?.fence;
  if (typeof fence === 'bigint') return fence as Fence;
  // Without a usable fence any higher one will do, and the next refusal may tell.
  return (typeof fence === 'string' && /^[0-9]{1,19}$/.test(fence) ? BigInt(fence) : 0n) as Fence;
}
