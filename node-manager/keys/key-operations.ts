/**
 * What an operator does with single keys: move, release, pause, resume. The directory holds the truth; a host is asked to let go of
 * what it has open. Every one of them may be asked for again after a failure, and then goes on from what is there.
 */
import type { HostClient } from '#client';
import {
  HoldfastError,
  type Claim,
  type InstanceId,
  type ResourceDirectory,
  type ResourceInfo,
  type ResourceKey,
  type RouteSettings,
  type Session,
} from '#core';
import { canonicalKeyOfText } from '#ownership';
import { resourceInfo } from '../api/status.ts';

export interface KeyName {
  /** In any spelling; whoever asks for it under another one means the same key. */
  key: string;
  /** The pool; without it the one that owns the key, or that the route of its path leads to. */
  instance: string | null;
}

/** Everything throws `HF_KEY_INVALID` for what can be no key, and `HF_REQUEST_INVALID` when it has owners in more than one pool. */
export interface KeyOperations {
  /** @throws HoldfastError HF_NOT_FOUND when nobody owns the key */
  show(name: KeyName): Promise<ResourceInfo>;
  /**
   * `to`: a processId, or a node for the host with the least keys there; null for the host with the least keys of all.
   * @throws HoldfastError HF_NOT_FOUND when nobody owns the key or there is no such host, HF_WRONG_STATE when that host may
   * take no keys, HF_NODE_UNREACHABLE when the owner does not answer
   */
  move(name: KeyName, to: string | null): Promise<{ moved: boolean; resource: ResourceInfo | null }>;
  /** The owner closes the key and gives it back; the next request for it finds the host with the least keys. */
  release(name: KeyName): Promise<{ released: boolean }>;
  /**
   * Nobody owns the key until it is resumed; requests for it wait for the hold time.
   * @throws HoldfastError HF_NOT_FOUND when there is no such instance
   */
  pause(name: KeyName): Promise<{ key: string; instanceId: string; paused: true }>;
  resume(name: KeyName): Promise<{ key: string; instanceId: string; paused: false; wasPaused: boolean }>;
}

/** How long requests in flight may take before a key leaves its host without them. */
const deadlineMs = 10_000;

export function createKeyOperations(deps: {
  directory: ResourceDirectory;
  host: (address: string) => HostClient;
  routes: () => readonly RouteSettings[];
  /** Whether the settings have such an instance. */
  isInstance: (id: string) => boolean;
}): KeyOperations {
  const { directory, host } = deps;

  async function ownerOf({ key, instance }: KeyName): Promise<Claim | null> {
    const { claims } = await directory.list({
      key: key as ResourceKey,
      ...(instance === null ? {} : { pool: instance as InstanceId }),
      limit: 2,
    });
    if (claims.length > 1) {
      throw new HoldfastError('HF_REQUEST_INVALID', `${key} is owned in more than one pool: add ?instance=`, {
        details: { instances: claims.map(found => found.pool) },
      });
    }
    return claims[0] ?? null;
  }

  async function owned(name: KeyName): Promise<Claim> {
    const claim = await ownerOf(name);
    if (claim) return claim;
    const pool = name.instance ?? routedTo(name.key);
    if (pool === null || !(await directory.isPaused(pool as InstanceId, name.key as ResourceKey))) {
      throw new HoldfastError('HF_NOT_FOUND', `nobody owns ${name.key}`);
    }
    throw new HoldfastError(
      'HF_NOT_FOUND',
      `nobody owns ${name.key}: it is paused in ${pool} until it is resumed`,
      {
        details: { instanceId: pool, paused: true },
      },
    );
  }

  /** The instance that the longest route to the key leads to. */
  function routedTo(key: string): string | null {
    const route = deps
      .routes()
      .filter(({ pathPrefix }) => covers(pathPrefix, key))
      .toSorted((a, b) => b.pathPrefix.length - a.pathPrefix.length)[0];
    return route?.componentInstanceId ?? null;
  }

  async function poolOf(name: KeyName): Promise<InstanceId> {
    if (name.instance !== null) return name.instance as InstanceId;
    const claim = await ownerOf(name);
    if (claim) return claim.pool;
    const routed = routedTo(name.key);
    if (routed !== null) return routed as InstanceId;
    throw new HoldfastError(
      'HF_REQUEST_INVALID',
      `nobody owns ${name.key}, and no route leads to it: add ?instance=`,
    );
  }

  async function letGo(claim: Claim, how: { to: string | null; release?: boolean }): Promise<boolean> {
    const fence = String(claim.fence);
    const { moved } = await host(claim.address).handOff({ key: claim.key, fence, deadlineMs, ...how });
    return moved;
  }

  async function sessionFor(claim: Claim, to: string): Promise<Session> {
    const named = (await directory.sessions(claim.pool)).filter(
      session => session.processId === to || session.nodeName === to,
    );
    if (named.length === 0) {
      throw new HoldfastError(
        'HF_NOT_FOUND',
        `${claim.pool} has no live host ${to}, and none on a node of that name`,
      );
    }
    const stays = named.find(session => session.sessionId === claim.sessionId);
    if (stays) return stays;
    const able = named.filter(session => session.ready && !session.draining);
    const best = able.toSorted((a, b) => a.keys * b.capacity - b.keys * a.capacity)[0];
    if (best) return best;
    throw new HoldfastError(
      'HF_WRONG_STATE',
      `${claim.pool} on ${to} takes no keys: it is draining or not ready`,
    );
  }

  return {
    async show(spelling) {
      return resourceInfo(await owned(canonical(spelling)));
    },
    async move(spelling, to) {
      const claim = await owned(canonical(spelling));
      const session = to === null ? null : await sessionFor(claim, to);
      if (session?.sessionId === claim.sessionId) return { moved: false, resource: resourceInfo(claim) };
      const moved = await letGo(claim, { to: session?.sessionId ?? null });
      const now = await directory.lookup(claim.pool, claim.key);
      return { moved, resource: now && resourceInfo(now) };
    },
    async release(spelling) {
      return { released: await letGo(await owned(canonical(spelling)), { to: null, release: true }) };
    },
    async pause(spelling) {
      const name = canonical(spelling);
      const pool = await poolOf(name);
      // Resuming needs no such check: what was paused in an instance that is gone can be resumed.
      if (!deps.isInstance(pool)) throw new HoldfastError('HF_NOT_FOUND', `no instance has the id ${pool}`);
      const claim = await directory.pauseKey(pool, name.key as ResourceKey);
      // From here on nobody gets the key. Whoever has it gives it back, and a failure to ask is the caller's to try again.
      if (claim) await letGo(claim, { to: null, release: true });
      return { key: name.key, instanceId: pool, paused: true };
    },
    async resume(spelling) {
      const name = canonical(spelling);
      const pool = await poolOf(name);
      const wasPaused = await directory.resumeKey(pool, name.key as ResourceKey);
      return { key: name.key, instanceId: pool, paused: false, wasPaused };
    },
  };
}

/** Else a pause, say, would be kept for a spelling that nobody is ever looked up by. */
function canonical({ key, instance }: KeyName): KeyName {
  return { key: canonicalKeyOfText(key), instance };
}

function covers(prefix: string, key: string): boolean {
  const stem = prefix.replace(/\/+$/, '');
  return key === stem || key.startsWith(`${stem}/`);
}
