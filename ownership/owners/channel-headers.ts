/** What goes with a request to a host: the proof that somebody of this cluster speaks, and the right that it acted on. Pure. */
import { CHANNEL_HEADERS } from '#core';

export interface ChannelFacts {
  channelKey: string;
  sessionId: string;
  /** Null where nothing is owned. */
  right: { key: string; fence: bigint } | null;
}

/** Flat: name, value, name, … */
export function channelHeaders(facts: ChannelFacts): string[] {
  const headers = [CHANNEL_HEADERS.channel, facts.channelKey, CHANNEL_HEADERS.session, facts.sessionId];
  if (facts.right) {
    headers.push(CHANNEL_HEADERS.resource, facts.right.key, CHANNEL_HEADERS.fence, String(facts.right.fence));
  }
  return headers;
}

type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** Whether a guard refused the request, so that nothing was executed. Only a host can set the header. */
export function guardRefused(statusCode: number, headers: Headers): boolean {
  return statusCode === 421 && headers[CHANNEL_HEADERS.refused] !== undefined;
}
