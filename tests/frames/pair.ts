/** Two ends of a connection without a socket: what one wants to send is cut into chunks and given to the other. */
import {
  AnswerLink,
  RequestLink,
  type IncomingRequest,
  type RequestFailure,
  type ResponseHead,
} from '#frames';

export interface Pair {
  client: RequestLink;
  host: AnswerLink;
  /** Moves everything that waits, until nothing does. */
  settle(): void;
  /** Why each end was closed; undefined while it is open. */
  closed: { client?: string | null; host?: string | null };
  leaving: () => boolean;
}

export function createPair(
  onRequest: (request: IncomingRequest) => void,
  chunkBytes: () => number = () => 1 << 20,
): Pair {
  const closed: Pair['closed'] = {};
  let leaving = false;
  const proof = Buffer.alloc(32, 7);
  const host = new AnswerLink({
    schedule() {},
    close: problem => void (closed.host ??= problem),
    verify: given => given.equals(proof),
    onRequest,
    onEnded() {},
  });
  const client = new RequestLink(
    {
      schedule() {},
      close: problem => void (closed.client ??= problem),
      onLeaving: () => (leaving = true),
      onEnded() {},
    },
    proof,
  );
  const move = (from: RequestLink | AnswerLink, to: RequestLink | AnswerLink): boolean => {
    const bytes = Buffer.concat(from.take());
    from.writer.recycle();
    for (let at = 0; at < bytes.length;) {
      const next = Math.min(bytes.length, at + Math.max(1, chunkBytes()));
      to.receive(Buffer.from(bytes.subarray(at, next)));
      at = next;
    }
    return bytes.length > 0;
  };
  return {
    client,
    host,
    closed,
    leaving: () => leaving,
    settle() {
      for (;;) {
        const there = move(client, host);
        const back = move(host, client);
        if (!there && !back) return;
      }
    },
  };
}

/** Collects an answer. */
export function collector() {
  const chunks: Buffer[] = [];
  const seen = {
    status: 0,
    headers: '',
    ended: false,
    trailers: null as string | null,
    failure: null as RequestFailure | null,
    drains: 0,
    accept: true,
    body: () => Buffer.concat(chunks),
    onHead(head: ResponseHead) {
      seen.status = head.status;
      seen.headers = head.headers.toString('latin1');
      if (head.body) chunks.push(Buffer.from(head.body));
      seen.ended = head.end;
    },
    onData(chunk: Buffer) {
      chunks.push(Buffer.from(chunk));
      return seen.accept;
    },
    onEnd(trailers: string | null) {
      seen.ended = true;
      seen.trailers = trailers;
    },
    onDrain: () => void (seen.drains += 1),
    onFailure: (failure: RequestFailure) => void (seen.failure = failure),
  };
  return seen;
}

export const plain = {
  method: 'GET',
  target: '/a',
  key: '/a',
  fence: 1n,
  channel: '',
  headers: '',
  body: null,
  more: false,
} as const;
