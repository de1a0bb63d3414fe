/**
 * Cuts a stream of bytes into frames, however it was chunked. Pieces of a body are handed on as they come, without a copy;
 * every other frame is handed on whole. Holds at most one frame, and that only as long as its type may be.
 */
import { flag, frameType, headerBytes, payloadBytesMax } from './layout.ts';

/** A frame, or a part of a piece of a body: the payload is `bytes` from `start` to `end`, valid during the call. */
export type OnFrame = (
  type: number,
  flags: number,
  stream: number,
  bytes: Buffer,
  start: number,
  end: number,
) => void;

export class FrameReader {
  readonly #onFrame: OnFrame;
  /** A header that has come in part. */
  readonly #header = Buffer.alloc(headerBytes);
  #headerLength = 0;
  /** The frame that is coming; null between frames. */
  #frame: Buffer | null = null;
  #frameLength = 0;
  /** Of a piece of a body: what has not come yet. */
  #dataLeft = -1;
  #type = 0;
  #flags = 0;
  #stream = 0;
  #stopped = false;

  constructor(onFrame: OnFrame) {
    this.#onFrame = onFrame;
  }

  /** Nothing more is read, also not of the present chunk. */
  stop(): void {
    this.#stopped = true;
    this.#frame = null;
  }

  /** @returns what is wrong with the bytes; then nothing more may be pushed. Null: nothing. */
  push(chunk: Buffer): string | null {
    let at = 0;
    const { length } = chunk;
    while (at < length && !this.#stopped) {
      if (this.#dataLeft >= 0) {
        at = this.#pass(chunk, at);
        continue;
      }
      if (this.#frame) {
        at = this.#fill(this.#frame, chunk, at);
        continue;
      }
      let problem: string | null;
      if (this.#headerLength === 0 && length - at >= headerBytes) {
        problem = this.#begin(chunk, at);
        at += headerBytes;
      } else {
        const take = Math.min(headerBytes - this.#headerLength, length - at);
        chunk.copy(this.#header, this.#headerLength, at, at + take);
        this.#headerLength += take;
        at += take;
        if (this.#headerLength < headerBytes) return null;
        this.#headerLength = 0;
        problem = this.#begin(this.#header, 0);
      }
      if (problem !== null) return problem;
      const payload = this.#frameLength;
      if (this.#type === frameType.data) {
        this.#dataLeft = payload;
        if (payload === 0 || at === length) {
          if (payload === 0) at = this.#pass(chunk, at);
        }
      } else if (length - at >= payload) {
        this.#onFrame(this.#type, this.#flags, this.#stream, chunk, at, at + payload);
        at += payload;
      } else {
        this.#frame = Buffer.allocUnsafe(payload);
        this.#frameLength = 0;
      }
    }
    return null;
  }

  #begin(bytes: Buffer, at: number): string | null {
    const length =
      ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
    this.#type = bytes[at + 4]!;
    this.#flags = bytes[at + 5]!;
    this.#stream =
      ((bytes[at + 6]! << 24) | (bytes[at + 7]! << 16) | (bytes[at + 8]! << 8) | bytes[at + 9]!) >>> 0;
    const max = payloadBytesMax(this.#type);
    if (max < 0) return `there is no frame of type ${this.#type}`;
    if (length > max) return `a frame of type ${this.#type} has ${length} bytes, more than ${max}`;
    this.#frameLength = length;
    return null;
  }

  /** Hands on what has come of a piece of a body; only its last part carries the flags. */
  #pass(chunk: Buffer, at: number): number {
    const take = Math.min(this.#dataLeft, chunk.length - at);
    this.#dataLeft -= take;
    const last = this.#dataLeft === 0;
    if (last) this.#dataLeft = -1;
    const flags = last ? this.#flags : this.#flags & ~flag.end;
    this.#onFrame(frameType.data, flags, this.#stream, chunk, at, at + take);
    return at + take;
  }

  #fill(frame: Buffer, chunk: Buffer, at: number): number {
    const take = Math.min(frame.length - this.#frameLength, chunk.length - at);
    chunk.copy(frame, this.#frameLength, at, at + take);
    this.#frameLength += take;
    if (this.#frameLength === frame.length) {
      this.#frame = null;
      this.#onFrame(this.#type, this.#flags, this.#stream, frame, 0, frame.length);
    }
    return at + take;
  }
}
