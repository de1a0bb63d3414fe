/**
 * The end of a connection that answers: a host. Hands over requests once the peer has proved that it knows the cluster
 * secret. To leave, it says goaway; the peer's acknowledgement comes after the last request that it sent, so that all of
 * them have been answered or refused by name, and none is lost in a connection that ends.
 */
import { flag, goawayCode, inlineBytesMax, requestFixedBytes, resetCode, streamsMax } from './layout.ts';
import { Link, type LinkPorts } from './link.ts';
import { FrameStream, type ResetCode } from './stream.ts';

/** A request as it came, and the means to answer it. */
export class IncomingRequest extends FrameStream {
  readonly #link: AnswerLink;
  readonly method: string;
  readonly target: string;
  /** Empty where nothing is owned. */
  readonly key: string;
  readonly fence: bigint;
  /** What hosts say to each other beside the request: a header block. */
  readonly channel: string;
  /** A header block of the request. */
  readonly headers: string;
  /** The body as far as it came with the head. Whole if `bodyIsWhole`; what follows comes to `receiver` after `resume`. */
  readonly body: Buffer | null;
  readonly bodyIsWhole: boolean;
  /** The peer asks for a tunnel. */
  readonly upgrade: boolean;
  answered = false;
  /** It has ended before its time. */
  aborted = false;
  /** After `write` said no: more may be written. */
  onWritable: (() => void) | null = null;
  /** Called when the request has ended before its time: the client is gone, or the connection. */
  onAbort: (() => void) | null = null;

  constructor(link: AnswerLink, id: number, flags: number, bytes: Buffer, start: number, end: number) {
    const whole = (flags & flag.end) !== 0;
    super(id, link, whole);
    this.#link = link;
    this.bodyIsWhole = whole;
    this.upgrade = (flags & flag.upgrade) !== 0;
    const high = bytes.readUInt32BE(start);
    const low = bytes.readUInt32BE(start + 4);
    this.fence = high === 0 ? BigInt(low) : (BigInt(high) << 32n) | BigInt(low);
    const methodEnd = bytes[start + 8]!;
    const targetEnd = methodEnd + bytes.readUInt16BE(start + 9);
    const keyEnd = targetEnd + bytes.readUInt16BE(start + 11);
    const channelEnd = keyEnd + bytes.readUInt16BE(start + 13);
    const headersEnd = channelEnd + bytes.readUInt32BE(start + 15);
    const textAt = start + requestFixedBytes;
    if (textAt + headersEnd > end) throw new RangeError('the head of a request is malformed');
    const text = bytes.toString('latin1', textAt, textAt + headersEnd);
    this.method = text.slice(0, methodEnd);
    this.target = text.slice(methodEnd, targetEnd);
    this.key = text.slice(targetEnd, keyEnd);
    this.channel = text.slice(keyEnd, channelEnd);
    this.headers = text.slice(channelEnd);
    const bodyAt = textAt + headersEnd;
    // A copy: the handler may keep it, and shall not keep the whole chunk with it.
    this.body = bodyAt === end ? null : Buffer.from(bytes.subarray(bodyAt, end));
    if (!whole) this.pause();
  }

  /**
   * The head of the answer, and its body if that is known. Without `last`, `write` and `end` follow.
   * @param headers a header block
   */
  respond(
    head: { status: number; reason: string; headers: string },
    body: Buffer | string | null,
    last: boolean,
  ): void {
    if (this.closed || this.answered) return;
    this.answered = true;
    const large = body !== null && body.length > inlineBytesMax / 3 ? bufferOf(body) : null;
    if (large !== null && large.length > inlineBytesMax) {
      this.#link.writer.response(this.id, 0, head, null);
      this.#link.touch();
      this.write(large);
      if (last) this.end();
      return;
    }
    this.#link.writer.response(this.id, last ? flag.end : 0, head, large ?? body);
    this.#link.touch();
    if (last) this.endedByHead();
  }

  /** Ends the answer, or what would have become one; whoever works on it hears of it as of a client that went away. */
  breakOff(text: string): void {
    if (this.closed) return;
    this.reset(resetCode.broken, text);
    this.receiver?.onReset(resetCode.broken, text);
    this.#aborted();
  }

  override wasReset(code: ResetCode, text: string): void {
    if (this.closed) return;
    super.wasReset(code, text);
    this.#aborted();
  }

  #aborted(): void {
    this.aborted = true;
    this.onAbort?.();
    this.onWritable?.();
  }

  protected override ended(): void {
    this.discard('the request was answered before its body was read');
  }

  protected override drained(): void {
    this.onWritable?.();
  }
}

function bufferOf(body: Buffer | string): Buffer {
  return typeof body === 'string' ? Buffer.from(body) : body;
}

export interface AnswerLinkPorts extends LinkPorts {
  /** Whether this is the proof that the peer knows the cluster secret. */
  verify: (proof: Buffer) => boolean;
  onRequest: (request: IncomingRequest) => void;
  onEnded: (cause: string) => void;
}

export class AnswerLink extends Link {
  readonly #events: AnswerLinkPorts;
  protected trusted = false;
  #lastId = 0;
  #leaving: 'no' | 'said' | 'acknowledged' = 'no';

  constructor(ports: AnswerLinkPorts) {
    super(ports);
    this.#events = ports;
  }

  /** Tells the peer to send nothing new; the connection ends when it has agreed and everything is answered. */
  leave(): void {
    if (this.closed || this.#leaving !== 'no') return;
    this.#leaving = 'said';
    this.goaway(goawayCode.leaving, 'the host is leaving');
  }

  /** Ends it, whatever is under way. */
  destroy(cause: string): void {
    this.closeNow(cause);
  }

  protected onHello(proof: Buffer): void {
    if (this.trusted) return this.wrong('hello comes once');
    if (!this.#events.verify(proof)) {
      return this.fail('this is no proof that you know the cluster secret', goawayCode.unauthorised);
    }
    this.trusted = true;
  }

  protected onRequest(id: number, flags: number, bytes: Buffer, start: number, end: number): void {
    if (id <= this.#lastId) return this.wrong('request ids must grow');
    if (this.#leaving === 'acknowledged')
      return this.wrong('a request came after the goaway was acknowledged');
    if (end - start < requestFixedBytes) return this.wrong('the head of a request is too short');
    this.#lastId = id;
    let request: IncomingRequest;
    try {
      request = new IncomingRequest(this, id, flags, bytes, start, end);
    } catch (error) {
      return this.wrong((error as Error).message);
    }
    this.streams.set(id, request);
    if (this.#leaving === 'said') return request.reset(resetCode.refused, 'the host is leaving');
    if (this.streams.size > streamsMax) return request.reset(resetCode.refused, 'too many requests at once');
    this.#events.onRequest(request);
  }

  protected onGoawayAck(): void {
    if (this.#leaving !== 'said') return this.wrong('nothing was to be acknowledged');
    this.#leaving = 'acknowledged';
    this.onStreamOver();
  }

  protected onStreamOver(): void {
    if (this.#leaving === 'acknowledged' && this.streams.size === 0 && !this.closed) this.closeNow(null);
  }

  protected onEnded(cause: string): void {
    this.#events.onEnded(cause);
  }

  protected isPast(id: number): boolean {
    return id > 0 && id <= this.#lastId;
  }

  protected onResponse(): void {
    this.wrong('only hosts answer');
  }
  protected onGoaway(): void {
    // Who asks needs no permission to stop; it just closes the connection.
  }
}
