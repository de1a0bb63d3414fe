/**
 * One request and its answer on a connection: flow control both ways, and the two halves that end on their own. What it
 * says goes through the `Wire` of its connection. Memory is bounded by the windows: of what the peer sends at most one
 * window waits here, and of what is to be sent only what its owner wrote after `write` had said no.
 *
 * Each half is `open` until its side has said the last of it; the stream is over when both have ended, or with a reset.
 */
import { dataPayloadBytesMax, flag, frameType, windowBytes, windowBytesMax, resetCode } from './layout.ts';
import type { FrameWriter } from './writer.ts';

export type ResetCode = (typeof resetCode)[keyof typeof resetCode];

/** What a stream needs of its connection. */
export interface Wire {
  readonly writer: FrameWriter;
  /** The system takes no more at the moment; `flow` is called when it does. */
  readonly congested: boolean;
  /** Something was put into the writer. */
  touch(): void;
  /** The stream waits for the system to take more. */
  block(stream: FrameStream): void;
  /** Whether the window of a stream may grow by so much. */
  grow(bytes: number): boolean;
  shrink(bytes: number): void;
  over(stream: FrameStream): void;
}

/** Who takes what comes of the peer's body. */
export interface BodyReceiver {
  /** Bytes that are the receiver's to keep. False: no more, until `resume`. */
  onData(chunk: Buffer): boolean;
  /** @param trailers a header block, or null */
  onEnd(trailers: string | null): void;
  /** The peer or the connection ended the stream before its time. Nothing else is called after it. */
  onReset(code: ResetCode, text: string): void;
}

/** What is smaller is copied, so that a few bytes that wait do not keep a large chunk. */
const copyBytesMax = 8 * 1024;

/** Shared: most streams never have anything that waits. */
const none: Buffer[] = Object.freeze<Buffer[]>([]) as Buffer[];

export class FrameStream {
  readonly id: number;
  readonly #wire: Wire;
  receiver: BodyReceiver | null = null;
  /** Neither side says anything more. */
  closed = false;

  #localEnded = false;
  #sendWindow = windowBytes;
  #unsent: Buffer[] = none;
  #endUnsent = false;
  #trailersUnsent: string | null = null;
  #wantsDrain = false;

  #remoteEnded: boolean;
  #window = windowBytes;
  /** What the peer may still send. */
  #allowance = windowBytes;
  #taken = 0;
  #paused = false;
  #waiting: Buffer[] = none;
  /** The peer has said the last of it, but the receiver has not seen it yet. */
  #endWaiting = false;
  #discarding = false;
  #trailersWaiting: string | null = null;

  constructor(id: number, wire: Wire, remoteEnded: boolean) {
    this.id = id;
    this.#wire = wire;
    this.#remoteEnded = remoteEnded;
  }

  get localEnded(): boolean {
    return this.#localEnded || this.#endUnsent;
  }

  get remoteEnded(): boolean {
    return this.#remoteEnded;
  }

  /** Sends a piece of the body, which must not change any more. False: better wait for `onDrain`. */
  write(chunk: Buffer): boolean {
    if (this.closed || this.localEnded) return true;
    if (this.#unsent.length > 0) {
      this.#unsent.push(chunk); // in its turn
      return false;
    }
    if (!this.#send(chunk)) this.#wantsDrain = true;
    return !this.#wantsDrain;
  }

  /** Ends this side's body. */
  end(trailers: string | null = null): void {
    if (this.closed || this.localEnded) return;
    if (this.#unsent.length > 0) {
      this.#endUnsent = true;
      this.#trailersUnsent = trailers;
      return;
    }
    this.#sendEnd(trailers);
  }

  /** Its head said that nothing follows. */
  endedByHead(): void {
    this.#localEnded = true;
    this.#finishIfDone();
    this.ended();
  }

  /** Ends both halves at once; the peer hears why. */
  reset(code: ResetCode, text = ''): void {
    if (this.closed) return;
    const payload = Buffer.allocUnsafe(1 + Buffer.byteLength(text));
    payload[0] = code;
    payload.write(text, 1);
    this.#wire.writer.plain(frameType.reset, 0, this.id, payload);
    this.#wire.touch();
    this.#close();
  }

  pause(): void {
    this.#paused = true;
  }

  /** Hands on what waits, until the receiver says no again. */
  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    while (this.#waiting.length > 0 && !this.#paused && !this.closed) this.#hand(this.#waiting.shift()!);
    if (this.#waiting.length === 0 && !this.#paused && this.#endWaiting && !this.closed) this.#handEnd();
  }

  /** What the peer has sent and still sends of its body is not wanted. A receiver that has not seen its end is told. */
  protected discard(text: string): void {
    if (this.closed || this.#discarding) return;
    this.#discarding = true;
    this.#waiting = none;
    const unread = this.#endWaiting || !this.#remoteEnded;
    this.#endWaiting = false;
    if (unread) this.receiver?.onReset(resetCode.cancelled, text);
    this.#finishIfDone();
  }

  /** After `write` said no: more may be written. */
  protected drained(): void {}
  /** This side has said the last of its body. */
  protected ended(): void {}

  // What the connection calls.

  /** @returns what is wrong with it, or null */
  received(bytes: Buffer, start: number, end: number, flags: number): string | null {
    if (this.#remoteEnded) return 'a body goes on after its end';
    const length = end - start;
    if (length > this.#allowance) return 'more of a body was sent than asked for';
    this.#allowance -= length;
    if (length > 0 && !this.#discarding) {
      const part = bytes.subarray(start, end);
      if (this.#paused) this.#keep(length <= copyBytesMax ? Buffer.from(part) : part);
      else this.#hand(part);
    }
    return (flags & flag.end) === 0 ? null : this.endReceived(null);
  }

  /** @returns what is wrong with it, or null */
  endReceived(trailers: string | null): string | null {
    if (this.closed) return null; // the receiver has just let go of it
    if (this.#remoteEnded) return 'a body ends twice';
    this.#remoteEnded = true;
    this.#trailersWaiting = trailers;
    if (this.#discarding) this.#finishIfDone();
    else if (this.#paused) this.#endWaiting = true;
    else this.#handEnd();
    return null;
  }

  /** The head said that nothing follows. */
  remoteEndedByHead(): void {
    this.#remoteEnded = true;
    this.#finishIfDone();
  }

  windowOpened(bytes: number): void {
    this.#sendWindow = Math.min(this.#sendWindow + bytes, 2 * windowBytesMax);
    this.flow();
  }

  /** Sends what waits, as far as window and system allow. */
  flow(): void {
    while (this.#unsent.length > 0 && !this.closed) if (!this.#send(this.#unsent.shift()!, true)) return;
    if (this.closed) return;
    if (this.#endUnsent) {
      this.#endUnsent = false;
      return this.#sendEnd(this.#trailersUnsent);
    }
    if (this.#wantsDrain && !this.#wire.congested && this.#sendWindow > 0) {
      this.#wantsDrain = false;
      this.drained();
    }
  }

  /** The other side, or the end of the connection, ended it. */
  wasReset(code: ResetCode, text: string): void {
    if (this.closed) return;
    const { receiver } = this;
    this.#close();
    receiver?.onReset(code, text);
  }

  /** Whether all of it is with the system, or could go no further. */
  #send(chunk: Buffer, again = false): boolean {
    const { writer } = this.#wire;
    let at = 0;
    while (at < chunk.length && this.#sendWindow > 0 && !this.#wire.congested) {
      const take = Math.min(chunk.length - at, this.#sendWindow, dataPayloadBytesMax);
      writer.data(this.id, 0, at === 0 && take === chunk.length ? chunk : chunk.subarray(at, at + take));
      this.#sendWindow -= take;
      at += take;
      this.#wire.touch();
    }
    if (this.#wire.congested) this.#wire.block(this);
    if (at < chunk.length) {
      const rest = at === 0 ? chunk : chunk.subarray(at);
      if (again) this.#unsent.unshift(rest);
      else if (this.#unsent === none) this.#unsent = [rest];
      else this.#unsent.push(rest);
      return false;
    }
    return this.#sendWindow > 0 && !this.#wire.congested;
  }

  #sendEnd(trailers: string | null): void {
    const { writer } = this.#wire;
    if (trailers === null) writer.data(this.id, flag.end, nothing);
    else writer.plain(frameType.trailers, flag.end, this.id, Buffer.from(trailers, 'latin1'));
    this.#wire.touch();
    this.#localEnded = true;
    this.#finishIfDone();
    this.ended();
  }

  #hand(chunk: Buffer): void {
    if (this.receiver && !this.receiver.onData(chunk)) this.#paused = true;
    if (this.closed) return;
    this.#taken += chunk.length;
    if (this.#taken >= this.#window / 2) this.#askForMore();
  }

  #keep(chunk: Buffer): void {
    if (this.#waiting === none) this.#waiting = [chunk];
    else this.#waiting.push(chunk);
  }

  #askForMore(): void {
    let bytes = this.#taken;
    // A sender that has used up most of it could be faster.
    if (
      this.#allowance < this.#window / 4 &&
      this.#window < windowBytesMax &&
      this.#wire.grow(this.#window)
    ) {
      bytes += this.#window;
      this.#window *= 2;
    }
    this.#taken = 0;
    this.#allowance += bytes;
    this.#wire.writer.number(frameType.window, this.id, bytes);
    this.#wire.touch();
  }

  #handEnd(): void {
    this.#endWaiting = false;
    const { receiver } = this;
    this.#finishIfDone();
    receiver?.onEnd(this.#trailersWaiting);
  }

  #finishIfDone(): void {
    if (this.#remoteEnded && this.#localEnded && !this.#endWaiting) this.#close();
  }

  #close(): void {
    if (this.closed) return;
    this.closed = true;
    if (this.#window > windowBytes) this.#wire.shrink(this.#window - windowBytes);
    this.#unsent = none;
    this.#waiting = none;
    this.#wire.over(this);
  }
}

const nothing = Buffer.alloc(0);
