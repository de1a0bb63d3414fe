/** Reads a `text/event-stream`: a pure parser, and the endless call around it. */
import type { ApiEvent } from '#core';
import { HoldfastError } from '#core';
import type { Connection } from './http.ts';

export interface ServerSentEvent {
  event: string;
  id: string | null;
  data: string;
}

const pendingMax = 1024 * 1024;

/** Takes text in pieces cut anywhere and returns the events that are complete with each. Comments are dropped. */
export function createEventParser(): (text: string) => ServerSentEvent[] {
  let pending = '';
  let event = '';
  let id: string | null = null;
  let data: string[] = [];

  return text => {
    pending += text;
    const found: ServerSentEvent[] = [];
    // A trailing \r may be the first half of \r\n, so it waits for the next piece.
    for (;;) {
      const match = /\r\n|\n|\r(?!$)/.exec(pending);
      if (!match) break;
      const line = pending.slice(0, match.index);
      pending = pending.slice(match.index + match[0].length);
      if (line === '') {
        if (data.length > 0) found.push({ event: event || 'message', id, data: data.join('\n') });
        event = '';
        data = [];
        continue;
      }
      const colon = line.indexOf(':');
      if (colon === 0) continue;
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (field === 'data') data.push(value);
      else if (field === 'event') event = value;
      else if (field === 'id') id = value;
    }
    if (pending.length > pendingMax) throw new RangeError('a line of the event stream is too long');
    return found;
  };
}

/**
 * The events of an API from now on. Ends when the signal aborts or the other side ends the stream; the caller connects
 * again, and must look at the present state then, because events in between are lost.
 * @throws HoldfastError HF_NODE_UNREACHABLE when the connection cannot be made or breaks
 */
export async function* readEvents(
  connection: Connection,
  path: string,
  signal: AbortSignal,
  connectTimeoutMs = 10_000,
): AsyncGenerator<ApiEvent> {
  // The deadline is for the connection only: the stream itself has none.
  const connecting = new AbortController();
  const timer = AbortSignal.timeout(connectTimeoutMs);
  const onLate = () => connecting.abort(timer.reason);
  const onAbort = () => connecting.abort(signal.reason);
  timer.addEventListener('abort', onLate);
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) return;
  try {
    const response = await connection.send('GET', path, {
      headers: { accept: 'text/event-stream' },
      timeoutMs: 2 ** 31 - 1,
      signal: connecting.signal,
    });
    timer.removeEventListener('abort', onLate);
    if (!response.body) return;
    const parse = createEventParser();
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    try {
      for (;;) {
        const { done, value } = await connection.read(reader.read());
        if (done) return;
        for (const { data } of parse(decoder.decode(value, { stream: true })))
          yield JSON.parse(data) as ApiEvent;
      }
    } finally {
      await reader.cancel().catch(() => {}); // the stream is over either way
    }
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof HoldfastError) throw error;
    throw new HoldfastError('HF_NODE_UNREACHABLE', `the event stream of ${connection.uri} broke`, {
      cause: error,
    });
  } finally {
    timer.removeEventListener('abort', onLate);
    signal.removeEventListener('abort', onAbort);
  }
}
