/**
 * Tells a host that it was just handed a key, so that it opens it before the first request arrives: that is what keeps the time short
 * for which nobody can serve it. Whatever goes wrong is harmless: the first request opens the key then.
 */
import type { Claim, Logger, System } from '#core';
import { createUpstreams } from '#ownership';
import { channelLine } from './channel-lines.ts';

const timeoutMs = 5_000;

/** Keeps a connection to a new owner for as long as it has something to tell. */
export function createTeller(deps: {
  system: System;
  clusterSecret: string;
  log: Logger;
}): (claim: Claim) => void {
  const { system, clusterSecret, log } = deps;
  const upstreams = createUpstreams({ system, secret: clusterSecret, ownerTimeoutMs: timeoutMs });
  return claim => {
    const { key, fence, sessionId } = claim;
    const done = (problem: string | null) => {
      if (problem !== null) log.debug({ problem, key }, 'the new owner could not be told to open the key');
      // After what tells of it has come to its end.
      queueMicrotask(() => {
        if (upstreams.inFlight(sessionId) === 0) upstreams.retire(sessionId, true);
      });
    };
    upstreams.get(claim).send(
      {
        method: 'POST',
        target: '/',
        key,
        fence,
        channel: channelLine('open', '1'),
        headers: '',
        body: null,
        more: false,
      },
      {
        onHead: ({ end }) => (end ? done(null) : undefined),
        onData: () => true,
        onEnd: () => done(null),
        onDrain() {},
        onFailure: ({ text }) => done(text),
      },
    );
  };
}
