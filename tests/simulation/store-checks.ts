/** What must hold of the directory as such, at everything that it has written down: fences, counts, who gets a key. */
import type { DirectoryEvent, ResourceKey, SessionId } from '#core';
import type { Directory } from '../../ownership/directory/directory.ts';
import type { StoredClaim } from '../../ownership/directory/records.ts';
import type { Rows } from './store.ts';
import { Violation } from './violation.ts';
import type { World } from './world.ts';

export function checkClaim(
  { world, directory }: { world: World; directory: Directory },
  key: ResourceKey,
  before: StoredClaim | undefined,
  after: StoredClaim,
): void {
  const { fence, sessionId, paused } = after;
  if (world.trace) {
    world.trace(`store: ${key} → ${sessionId ?? 'nobody'} under ${fence}${paused ? ' paused' : ''}`);
  }
  if (before && fence < before.fence) {
    throw new Violation('I5-fences-increase', `${key} went from ${before.fence} to ${fence}`);
  }
  if (sessionId === null || sessionId === before?.sessionId || world.adopting) return;
  if (before && fence <= before.fence) {
    throw new Violation('I5-fences-increase', `${key} got a new owner under ${fence}, had ${before.fence}`);
  }
  if (paused) throw new Violation('paused-keys-stay-unowned', `${key} was given to ${sessionId}`);
  if (directory.session(sessionId)?.draining) {
    throw new Violation('draining-hosts-get-nothing', `${key} was given to ${sessionId}, which is draining`);
  }
  world.count('claims');
  if (before?.sessionId) world.count('takeovers');
}

export function checkCounts(directory: Directory, rows: Rows): void {
  const counts = new Map<SessionId, number>();
  for (const { sessionId } of rows.claims.values()) {
    if (sessionId) counts.set(sessionId, (counts.get(sessionId) ?? 0) + 1);
  }
  for (const { sessionId } of rows.sessions.values()) {
    const told = directory.session(sessionId)?.keys;
    const counted = counts.get(sessionId) ?? 0;
    if (told !== counted) {
      throw new Violation(
        'key-counts-exact',
        `${sessionId} is said to have ${told} keys, and has ${counted}`,
      );
    }
  }
}

export function noteEvent({ count, trace }: World, event: DirectoryEvent): void {
  if (event.type === 'session-opened') count('sessionsOpened');
  if (event.type === 'released') count('releases');
  if (event.type === 'moved') count('transfers');
  if (event.type === 'paused') count('pauses');
  if (event.type === 'resumed') count('resumes');
  if (event.type !== 'session-ended') return;
  if (event.reason === 'expired') count('sessionsExpired');
  if (event.reason === 'died') count('sessionsDied');
  if (event.reason === 'closed') count('sessionsClosed');
  if (trace) trace(`store: session ${event.sessionId} ended, ${event.reason}`);
}
