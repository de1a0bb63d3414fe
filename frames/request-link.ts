/**
 * The end of a connection that sends requests. Knows of each whether it has gone out: one that has not was certainly not
 * executed. After the host's goaway nothing new is sent, and what the host had not begun by then it refuses by name.
 */
import {
  frameType,
  flag,
  inlineBytesMax,
  resetCode,
  responseFixedBytes,
  streamIdMax,
  streamsMax,
} from './layout.ts';
import { Link, type Goaway, type LinkPorts } from './link.ts';
import { FrameStream, type BodyReceiver, type ResetCode } from './stream.ts';
import type { RequestHead } from './writer.ts';

/** How a request ended without an answer, or without the whole of one. */
export interface RequestFailure {
  /** `unsent`: it never left this process. `refused`: the host says that nothing was executed. */
  type: 'not-owner' | 'cycle' | 'refused' | 'unsent' | 'broken' | 'timeout';
  /** What the host said, or what became of the connection. */
  text: string;
}

export interface ResponseHead {
  status: number;
  /** Empty for the usual one. */
  reason: string;
  /** `name: value\r\n` for each header, without those of a connection; valid during the call. */
  headers: Buffer;
  /** The beginning of the body, valid during the call; null: none. */
  body: Buffer | null;
  /** Nothing follows: neither `onData` nor `onEnd` is called. */
  end: boolean;
}

/** Who takes the answer. Exactly one of `onHead` with `end`, `onEnd` and `onFailure` is called last, unless it was cancelled. */
export interface ResponseReceiver {
  onHead(head: ResponseHead): void;
  /** False: no more, until `resume`. The bytes are the receiver's to keep. */
  onData(chunk: Buffer): boolean;
  /** @param trailers a header block, or null */
  onEnd(trailers: string | null): void;
  /** More of the request's body may be written. */
  onDrain(): void;
  onFailure(failure: RequestFailure): void;
}

export interface Request extends RequestHead {
  /** All of the body where `more` is false, else its beginning; null: none. */
  body: Buffer | null;
  /** `write` and `end` follow. */
  more: boolean;
  /** Asks for a tunnel: after an answer 101 `write` and `onData` carry bytes of another protocol. */
  upgrade?: boolean;
}

/** One request under way. */
export interface OutgoingRequest {
  /** False: wait for `onDrain`. */
  write(chunk: Buffer): boolean;
  end(trailers?: string | null): void;
  /** The answer is not wanted any more; the receiver hears nothing more. */
  cancel(): void;
  pause(): void;
  resume(): void;
}

class LiveRequest extends FrameStream implements OutgoingRequest, BodyReceiver {
  readonly taker: ResponseReceiver;
  headSeen = false;
  /** When it began to wait for the answer, monotonic milliseconds. */
  sinceMs: number;
  /** More of its body was written since somebody looked. */
  #moved = false;

  constructor(id: number, link: RequestLink, taker: ResponseReceiver, sinceMs: number) {
    super(id, link, false);
    this.taker = taker;
    this.sinceMs = sinceMs;
    this.receiver = this;
  }

  /** The answer is whole: what is left of the request's body is of no use. */
  stopSending(): void {
    if (!this.closed) this.reset(resetCode.cancelled);
  }

  cancel(): void {
    this.reset(resetCode.cancelled);
  }

  onData(chunk: Buffer): boolean {
    return this.taker.onData(chunk);
  }

  onEnd(trailers: string | null): void {
    this.stopSending();
    this.taker.onEnd(trailers);
  }

  onReset(code: ResetCode, text: string): void {
    this.taker.onFailure({ type: failureOf(code), text });
  }

  protected override drained(): void {
    this.taker.onDrain();
  }

  override write(chunk: Buffer): boolean {
    this.#moved = true;
    return super.write(chunk);
  }

  /** Whether it has waited for its answer for so long. A body on its way counts from its last piece. */
  isLate(nowMs: number, timeoutMs: number): boolean {
    if (this.#moved) {
      this.#moved = false;
      this.sinceMs = nowMs;
    }
    return !this.headSeen && nowMs - this.sinceMs >= timeoutMs;
  }
}

export interface RequestLinkPorts extends LinkPorts {
  /** The host takes nothing new; `serving`: nothing was wrong, it ends after its answers. */
  onLeaving: () => void;
  onEnded: (cause: string) => void;
}

export class RequestLink extends Link {
  readonly #events: RequestLinkPorts;
  protected readonly trusted = true;
  #lastId = 0;
  /** Streams up to this one have gone to the system. */
  #flushedId = 0;
  #leaving = false;

  constructor(ports: RequestLinkPorts, proof: Buffer) {
    super(ports);
    this.#events = ports;
    this.writer.plain(frameType.hello, 0, 0, proof);
    this.touch();
  }

  /** New requests may be sent. */
  get open(): boolean {
    return !this.closed && !this.#leaving && this.#lastId < streamIdMax && this.streams.size < streamsMax;
  }

  send(request: Request, receiver: ResponseReceiver, nowMs: number): OutgoingRequest {
    const id = (this.#lastId += 1);
    const exchange = new LiveRequest(id, this, receiver, nowMs);
    this.streams.set(id, exchange);
    const { body, more } = request;
    const inline = body === null || body.length <= inlineBytesMax;
    const last = !more && inline;
    const flags = (last ? flag.end : 0) | (request.upgrade ? flag.upgrade : 0);
    this.writer.request(id, flags, request, inline ? body : null);
    this.touch();
    if (!inline) {
      exchange.write(body);
      if (!more) exchange.end();
    } else if (last) {
      exchange.endedByHead();
    }
    return exchange;
  }

  override take(): Buffer[] {
    this.#flushedId = this.#lastId;
    return super.take();
  }

  /** Gives up what has waited for so long for the head of its answer. */
  expire(nowMs: number, timeoutMs: number): void {
    for (const stream of this.streams.values()) {
      const exchange = stream as LiveRequest;
      if (!exchange.isLate(nowMs, timeoutMs)) continue;
      exchange.cancel();
      exchange.taker.onFailure({ type: 'timeout', text: `no answer within ${timeoutMs} ms` });
    }
  }

  /** Sends nothing new, and ends the connection after the last answer. */
  retire(): void {
    this.#leaving = true;
    this.#endIfIdle();
  }

  /** Ends it now. */
  destroy(cause: string): void {
    this.closeNow(cause);
  }

  override ended(cause: string): void {
    for (const [id, stream] of [...this.streams].reverse()) {
      if (id <= this.#flushedId) break;
      (stream as LiveRequest).taker.onFailure({ type: 'unsent', text: cause });
      stream.closed = true;
      this.streams.delete(id);
    }
    super.ended(cause);
  }

  protected onResponse(id: number, flags: number, bytes: Buffer, start: number, end: number): void {
    const exchange = this.streams.get(id) as LiveRequest | undefined;
    if (!exchange) {
      if (!this.isPast(id)) this.wrong(`an answer to request ${id}, which was never sent`);
      return;
    }
    if (exchange.headSeen) return this.wrong('a request is answered twice');
    if (end - start < responseFixedBytes) return this.wrong('the head of an answer is too short');
    const status = bytes.readUInt16BE(start);
    const reasonAt = start + responseFixedBytes;
    const headersAt = reasonAt + bytes[start + 2]!;
    const bodyAt = headersAt + bytes.readUInt32BE(start + 3);
    if (status < 100 || status > 999 || bodyAt > end) return this.wrong('the head of an answer is malformed');
    exchange.headSeen = true;
    const whole = (flags & flag.end) !== 0;
    const head: ResponseHead = {
      status,
      reason: headersAt === reasonAt ? '' : bytes.toString('latin1', reasonAt, headersAt),
      headers: bytes.subarray(headersAt, bodyAt),
      body: bodyAt === end ? null : bytes.subarray(bodyAt, end),
      end: whole,
    };
    if (whole) {
      exchange.remoteEndedByHead();
      exchange.stopSending();
    }
    exchange.taker.onHead(head);
  }

  protected onGoaway({ code, text }: Goaway): void {
    if (code !== 0) return this.wrong(`the host ended the connection: ${text}`);
    this.#leaving = true;
    this.writer.plain(frameType.goawayAck, 0, 0, nothing);
    this.touch();
    this.#events.onLeaving();
  }

  protected onStreamOver(): void {
    this.#endIfIdle();
  }

  #endIfIdle(): void {
    if (this.#leaving && this.streams.size === 0 && !this.closed) this.closeNow(null);
  }

  protected onEnded(cause: string): void {
    this.#events.onEnded(cause);
  }

  protected isPast(id: number): boolean {
    return id > 0 && id <= this.#lastId;
  }

  protected onRequest(): void {
    this.wrong('a host sends no requests');
  }
  protected onHello(): void {
    this.wrong('a host says hello before frames begin');
  }
  protected onGoawayAck(): void {
    this.wrong('nothing was to be acknowledged');
  }
}

const nothing = Buffer.alloc(0);

function failureOf(code: ResetCode): RequestFailure['type'] {
  switch (code) {
    case resetCode.notOwner:
      return 'not-owner';
    case resetCode.cycle:
      return 'cycle';
    case resetCode.refused:
      return 'refused';
    default:
      return 'broken';
  }
}
