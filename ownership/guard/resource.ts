/** What the guard keeps for one opening of a key: the `Resource` that the component got, its handler, its signal. */
import { HoldfastError, type Fence, type Resource, type ResourceHandler, type ResourceKey } from '#core';

export interface OpenResource {
  readonly resource: Resource;
  readonly right: AbortController;
  /** Set when the component has opened it. */
  handler: ResourceHandler | null;
  /** The alarm that this opening has set and not seen come, epoch milliseconds. */
  alarmAtMs: number | null;
}

export interface OpenResourcePorts {
  /** Whether this opening may act at this moment. */
  owned: () => boolean;
  /** Stores the alarm. Resolves to whether the directory still names this opening's right. */
  setAlarm: (atMs: number | null) => Promise<boolean>;
}

export function createOpenResource(
  facts: { key: ResourceKey; fence: Fence; hadOwner: boolean },
  { owned, setAlarm }: OpenResourcePorts,
): OpenResource {
  const right = new AbortController();
  function assertOwned(): void {
    if (right.signal.aborted || !owned()) throw notOwner(facts.key);
  }
  const resource: Resource = Object.freeze<Resource>({
    ...facts,
    signal: right.signal,
    assertOwned,
    async alarm(at) {
      const atMs = at === null ? null : at.getTime();
      if (Number.isNaN(atMs)) throw new TypeError('the time of an alarm must be a valid Date, or null');
      assertOwned();
      if (!(await setAlarm(atMs))) throw notOwner(facts.key);
      opening.alarmAtMs = atMs;
    },
  });
  const opening: OpenResource = { resource, right, handler: null, alarmAtMs: null };
  return opening;
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

/** What a component throws with a code of ours is its answer; anything else is a failure to open. */
export function openFailure(key: ResourceKey, error: unknown): unknown {
  if (error instanceof Error && 'code' in error && String(error.code).startsWith('HF_')) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new HoldfastError('HF_RESOURCE_OPEN_FAILED', `the resource could not be opened: ${reason}`, {
    cause: error,
    details: { key },
  });
}

/** A request was not run: why, as an error. */
export function refusalOf(
  key: ResourceKey,
  reason: { type: 'not-owner' | 'too-many' | 'open-late' } | { type: 'error'; error: unknown },
): unknown {
  switch (reason.type) {
    case 'error':
      return reason.error;
    case 'not-owner':
      return notOwner(key);
    case 'too-many':
      return new HoldfastError('HF_UNAVAILABLE', 'too many requests wait for this key', { details: { key } });
    case 'open-late':
      return new HoldfastError(
        'HF_RESOURCE_OPEN_FAILED',
        'the component takes too long to open the resource',
        {
          details: { key },
        },
      );
  }
}
