/**
 * Puts frames into as few buffers as possible. What is small is copied into one slab, so that all frames of a turn of the
 * event loop go out in one write; what is large is handed on as it is.
 */
import { headerBytes, requestFixedBytes, responseFixedBytes, frameType } from './layout.ts';

const slabBytes = 64 * 1024;
/** A slab with less room than this is not worth keeping. */
const roomBytesMin = 8 * 1024;
/** What is longer is not copied. */
const copyBytesMax = 4 * 1024;

export interface RequestHead {
  method: string;
  /** Path and query. */
  target: string;
  /** Empty where nothing is owned. */
  key: string;
  fence: bigint;
  /** What hosts say to each other beside the request: lines like those of `headers`. */
  channel: string;
  /** `name: value\r\n` for each header, one character a byte; names in lower case. */
  headers: string;
}

export class FrameWriter {
  #slab = Buffer.allocUnsafe(slabBytes);
  /** Where the bytes of the slab begin that have not been taken. */
  #from = 0;
  #at = 0;
  #parts: Buffer[] = [];
  #partsBytes = 0;

  /** Bytes that wait to be taken. */
  get size(): number {
    return this.#partsBytes + this.#at - this.#from;
  }

  /** All that was put, in order; `recycle` or `abandon` follows. */
  take(): Buffer[] {
    const parts = this.#parts;
    if (this.#at > this.#from) parts.push(this.#slab.subarray(this.#from, this.#at));
    this.#parts = [];
    this.#partsBytes = 0;
    this.#from = this.#at;
    return parts;
  }

  /** What was taken has gone to the system already: its memory can be used again. */
  recycle(): void {
    if (this.#parts.length > 0) return;
    this.#from = 0;
    this.#at = 0;
  }

  request(stream: number, flags: number, head: RequestHead, body: Uint8Array | null): void {
    const { method, target, key, channel, headers, fence } = head;
    const bodyBytes = body === null ? 0 : body.length;
    const text = method + target + key + channel + headers;
    const payload = requestFixedBytes + text.length + bodyBytes;
    let at = this.#header(payload, frameType.request, flags, stream);
    const slab = this.#slab;
    at =
      fence <= 0xffff_ffffn
        ? put32(slab, put32(slab, at, 0), Number(fence))
        : slab.writeBigUInt64BE(fence, at);
    slab[at++] = method.length;
    at = put16(slab, at, target.length);
    at = put16(slab, at, key.length);
    at = put16(slab, at, channel.length);
    at = put32(slab, at, headers.length);
    at += slab.write(text, at, text.length, 'latin1');
    if (body !== null) slab.set(body, at);
    this.#at = at + bodyBytes;
  }

  response(
    stream: number,
    flags: number,
    head: { status: number; reason: string; headers: string },
    body: Uint8Array | string | null,
  ): void {
    const { status, reason, headers } = head;
    const bodyBytes = body === null ? 0 : typeof body === 'string' ? Buffer.byteLength(body) : body.length;
    const payload = responseFixedBytes + reason.length + headers.length + bodyBytes;
    let at = this.#header(payload, frameType.response, flags, stream);
    const slab = this.#slab;
    at = put16(slab, at, status);
    slab[at++] = reason.length;
    at = put32(slab, at, headers.length);
    if (reason !== '') at += slab.write(reason, at, reason.length, 'latin1');
    at += slab.write(headers, at, headers.length, 'latin1');
    if (typeof body === 'string') slab.write(body, at, bodyBytes, 'utf8');
    else if (body !== null) slab.set(body, at);
    this.#at = at + bodyBytes;
  }

  /** A piece of a body, which must not be changed after that. */
  data(stream: number, flags: number, body: Buffer): void {
    if (body.length <= copyBytesMax) {
      const at = this.#header(body.length, frameType.data, flags, stream);
      this.#slab.set(body, at);
      this.#at = at + body.length;
      return;
    }
    this.#at = this.#header(body.length, frameType.data, flags, stream, 0);
    this.#seal();
    this.#parts.push(body);
    this.#partsBytes += body.length;
  }

  /** A frame with a payload that is bytes, or text of one byte a character. */
  plain(type: number, flags: number, stream: number, payload: Uint8Array): void {
    const at = this.#header(payload.length, type, flags, stream);
    this.#slab.set(payload, at);
    this.#at = at + payload.length;
  }

  number(type: number, stream: number, value: number): void {
    const at = this.#header(4, type, 0, stream);
    this.#at = put32(this.#slab, at, value);
  }

  /** Writes a header and makes room for `room` bytes after it. Returns where they begin. */
  #header(payload: number, type: number, flags: number, stream: number, room = payload): number {
    if (this.#slab.length - this.#at < headerBytes + room) {
      this.#seal();
      this.#slab = Buffer.allocUnsafe(Math.max(slabBytes, headerBytes + room));
      this.#from = 0;
      this.#at = 0;
    }
    const slab = this.#slab;
    let at = put32(slab, this.#at, payload);
    slab[at++] = type;
    slab[at++] = flags;
    return put32(slab, at, stream);
  }

  /** Keeps the order between the slab and what does not go into it. */
  #seal(): void {
    if (this.#at > this.#from) {
      this.#parts.push(this.#slab.subarray(this.#from, this.#at));
      this.#partsBytes += this.#at - this.#from;
    }
    if (this.#slab.length - this.#at < roomBytesMin) {
      this.#slab = Buffer.allocUnsafe(slabBytes);
      this.#at = 0;
    }
    this.#from = this.#at;
  }
}

function put16(bytes: Buffer, at: number, value: number): number {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
  return at + 2;
}

function put32(bytes: Buffer, at: number, value: number): number {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
  return at + 4;
}
