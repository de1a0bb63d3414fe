/** How hosts ask each other who keeps a call waiting, see `turns.ts`: a request over the channel that no component sees. */
import type { System } from '#core';
import type { Upstream } from '#ownership';
import { channelLine, type ChannelLines } from '../channel-lines.ts';
import { startAttempt } from './attempt.ts';
import type { Question, Waits } from './frames.ts';

/** The call that is asked about, the call that asks, and those that the question came by. */
const callIdsForm = /^[a-z0-9]{16}(?: [a-z0-9]{16}){1,65}$/;
/** Asked again later, so a host that takes longer is as good as one that knows nothing. */
const answerMs = 1_000;

/** Whether, through a call that this host has, the origin waits for itself. A host that does not say so: no. */
export async function askHost(
  system: System,
  upstream: Upstream,
  callId: string,
  { origin, passed }: Question,
): Promise<Waits> {
  const attempt = startAttempt(upstream, {
    method: 'GET',
    target: '/',
    headers: '',
    channel: channelLine('question', [callId, origin, ...passed].join(' ')),
    body: null,
    right: null,
  });
  const stopTimer = system.timers.after(answerMs, () => attempt.cancel(new Error('no answer in time')));
  try {
    const outcome = await attempt.outcome;
    if (outcome.type !== 'answered' || outcome.response.status !== 200) return null;
    return ((await outcome.response.json()) as { waits: Waits }).waits;
  } catch {
    return null; // broken off: it is asked again later
  } finally {
    stopTimer();
  }
}

/** Null for a request that asks nothing of the kind. */
export function questionOf({ question: text }: ChannelLines): { callId: string; question: Question } | null {
  if (text === null || !callIdsForm.test(text)) return null;
  const [callId, origin, ...passed] = text.split(' ');
  return { callId: callId!, question: { origin: origin!, passed } };
}
