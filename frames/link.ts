/**
 * What both ends of a connection have in common: bytes in, frames out, the streams under way, and the end. No I/O: the
 * shell (`socket.ts`) feeds `receive`, sends what `take` gives, and says when the system takes no more.
 *
 * Whatever the peer sends that the protocol does not allow ends the connection with a reason, and all its streams with it.
 */
import { frameType, goawayCode, resetCode, windowGrowthBytesMax } from './layout.ts';
import { FrameReader } from './reader.ts';
import type { FrameStream, ResetCode, Wire } from './stream.ts';
import { FrameWriter } from './writer.ts';

export interface LinkPorts {
  /** Something waits to be taken; called once until it was. */
  schedule: () => void;
  /** The connection shall end: at once, or (null) when all that waits was sent. Called once. */
  close: (problem: string | null) => void;
}

export interface Goaway {
  code: number;
  text: string;
}

export abstract class Link implements Wire {
  readonly writer = new FrameWriter();
  readonly #ports: LinkPorts;
  readonly #reader: FrameReader;
  readonly streams = new Map<number, FrameStream>();
  #blocked = new Set<FrameStream>();
  #scheduled = false;
  #congested = false;
  #grownBytes = 0;
  #problem: string | null = null;
  #pings = new Map<number, () => void>();
  #lastPing = 0;
  closed = false;

  constructor(ports: LinkPorts) {
    this.#ports = ports;
    this.#reader = new FrameReader(this.#onFrame);
  }

  get congested(): boolean {
    return this.#congested;
  }

  /** Bytes from the peer; not kept after the call. */
  receive(chunk: Buffer): void {
    if (this.closed) return;
    const problem = this.#reader.push(chunk) ?? this.#problem;
    if (problem !== null) this.fail(problem);
  }

  /** What is to be sent. Give its memory back with `writer.recycle` when the system has it. */
  take(): Buffer[] {
    this.#scheduled = false;
    return this.writer.take();
  }

  /** The system takes no more. */
  congest(): void {
    this.#congested = true;
  }

  /** It does again. */
  drained(): void {
    this.#congested = false;
    const blocked = this.#blocked;
    this.#blocked = new Set();
    for (const stream of blocked) if (!stream.closed) stream.flow();
  }

  /** The connection has ended: by the peer, by the network, or because it was asked to. */
  ended(cause: string): void {
    if (this.closed) return;
    this.closed = true;
    this.#reader.stop();
    for (const stream of this.streams.values()) stream.wasReset(resetCode.broken, cause);
    this.#pings.clear();
    this.onEnded(cause);
  }

  /** Asks for a sign of life; `answered` is called when it comes. */
  ping(answered: () => void): void {
    this.#lastPing = (this.#lastPing + 1) >>> 0;
    this.#pings.set(this.#lastPing, answered);
    this.writer.number(frameType.ping, 0, this.#lastPing);
    this.touch();
  }

  // Wire, for the streams.

  touch(): void {
    if (this.#scheduled || this.closed) return;
    this.#scheduled = true;
    this.#ports.schedule();
  }

  block(stream: FrameStream): void {
    this.#blocked.add(stream);
  }

  grow(bytes: number): boolean {
    if (this.#grownBytes + bytes > windowGrowthBytesMax) return false;
    this.#grownBytes += bytes;
    return true;
  }

  shrink(bytes: number): void {
    this.#grownBytes -= bytes;
  }

  over(stream: FrameStream): void {
    this.streams.delete(stream.id);
    this.#blocked.delete(stream);
    this.onStreamOver();
  }

  // For the two roles.

  protected abstract onRequest(
    stream: number,
    flags: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void;
  protected abstract onResponse(
    stream: number,
    flags: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void;
  protected abstract onHello(bytes: Buffer): void;
  protected abstract onGoaway(goaway: Goaway): void;
  protected abstract onGoawayAck(): void;
  protected abstract onStreamOver(): void;
  protected abstract onEnded(cause: string): void;
  /** Whether there has been such a stream: then a late frame for it is nothing wrong. */
  protected abstract isPast(stream: number): boolean;
  /** Whether any frame but a hello may come. */
  protected abstract readonly trusted: boolean;

  /** The peer does not keep to the protocol. */
  protected fail(problem: string, code: number = goawayCode.protocolError): void {
    if (this.closed) return;
    this.goaway(code, problem);
    this.closeNow(problem);
  }

  protected goaway(code: number, text: string): void {
    const payload = Buffer.allocUnsafe(1 + Buffer.byteLength(text));
    payload[0] = code;
    payload.write(text, 1);
    this.writer.plain(frameType.goaway, 0, 0, payload);
    this.touch();
  }

  protected closeNow(problem: string | null): void {
    this.#reader.stop();
    this.#ports.close(problem);
  }

  protected wrong(problem: string): void {
    this.#problem ??= problem;
    this.#reader.stop();
  }

  readonly #onFrame = (
    type: number,
    flags: number,
    id: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void => {
    if (type !== frameType.hello && !this.trusted) return this.wrong('the hello must come first');
    switch (type) {
      case frameType.request:
        return this.onRequest(id, flags, bytes, start, end);
      case frameType.response:
        return this.onResponse(id, flags, bytes, start, end);
      case frameType.data:
        return this.#toStream(id, stream => stream.received(bytes, start, end, flags));
      case frameType.window:
        if (end - start !== 4) return this.wrong('a window frame has four bytes');
        return this.#toStream(id, stream => (stream.windowOpened(bytes.readUInt32BE(start)), null));
      case frameType.trailers: {
        const text = bytes.toString('latin1', start, end);
        return this.#toStream(id, stream => stream.endReceived(text));
      }
      case frameType.reset: {
        if (end - start < 1) return this.wrong('a reset says why');
        const code = bytes[start] as ResetCode;
        const text = bytes.toString('utf8', start + 1, end);
        return this.#toStream(id, stream => (stream.wasReset(code, text), null));
      }
      case frameType.goaway:
        if (end - start < 1) return this.wrong('a goaway says why');
        return this.onGoaway({ code: bytes[start]!, text: bytes.toString('utf8', start + 1, end) });
      case frameType.goawayAck:
        return this.onGoawayAck();
      case frameType.ping:
        if (end - start !== 4) return this.wrong('a ping has four bytes');
        this.writer.number(frameType.pong, 0, bytes.readUInt32BE(start));
        return this.touch();
      case frameType.pong: {
        if (end - start !== 4) return this.wrong('a pong has four bytes');
        const answered = this.#pings.get(bytes.readUInt32BE(start));
        this.#pings.delete(bytes.readUInt32BE(start));
        return answered?.();
      }
      case frameType.hello:
        return this.onHello(bytes.subarray(start, end));
    }
  };

  #toStream(id: number, run: (stream: FrameStream) => string | null): void {
    const stream = this.streams.get(id);
    if (!stream) {
      if (!this.isPast(id)) this.wrong(`a frame for stream ${id}, which was never opened`);
      return;
    }
    const problem = run(stream);
    if (problem !== null) this.wrong(problem);
  }
}
