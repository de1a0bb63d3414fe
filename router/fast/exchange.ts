/**
 * An exchange whose request `head.ts` has read. The response goes out in as few writes as there can be: the head waits for the
 * first data. Nothing that breaks the framing is ever written: header lines are checked, and a body that does not keep to its
 * announced length breaks the connection off.
 */
import { assertSendable, valuesIn, type BodyReader, type Exchange } from '../exchange.ts';
import type { FastConnection } from './connection.ts';
import type { Head } from './head.ts';

const { STATUS_CODES } = process.getBuiltinModule('node:http');

/** How the end of the response's body shows. */
type Framing = 'none' | 'length' | 'chunked';

const lastChunk = '0\r\n\r\n';
/** What is not longer goes out in one piece with what stands before it. */
const joinedBytesMax = 16 * 1024;

export class FastExchange implements Exchange {
  readonly upgrade = false;
  readonly expectsContinue = false;
  readonly head: Head;
  onDrain: (() => void) | null = null;
  onGone: (() => void) | null = null;
  onClose: (() => void) | null = null;
  /** Of the request's body, what has not come yet. */
  bodyLeft: number;
  /** Of the response, all has been written. */
  ended = false;
  readonly #connection: FastConnection;
  /** Of the body, what nobody has read yet. */
  #arrived: Buffer | null;
  #reader: BodyReader | null = null;
  #paused = false;
  #discarding = false;
  #endTold: boolean;
  #headSent = false;
  #closing: boolean;
  /** The head as long as it waits for what goes with it. */
  #waiting: string | null = null;
  #framing: Framing = 'none';
  /** Of an announced body, what is still to be written. */
  #owed = 0;
  #lost = false;

  /** @param arrived as much of the body as came with the head */
  constructor(connection: FastConnection, head: Head, arrived: Buffer | null) {
    this.#connection = connection;
    this.head = head;
    this.#arrived = arrived;
    this.bodyLeft = head.bodyBytes - (arrived?.length ?? 0);
    this.#endTold = head.bodyBytes === 0;
    this.#closing = head.close;
  }

  get method(): string {
    return this.head.method;
  }

  get target(): string {
    return this.head.target;
  }

  get rawHeaders(): readonly string[] {
    return this.head.rawHeaders;
  }

  get remoteAddress(): string {
    return this.#connection.remoteAddress;
  }

  get announcedBytes(): number {
    return this.head.bodyBytes;
  }

  get received(): boolean {
    return this.bodyLeft === 0;
  }

  get bodyEnded(): boolean {
    return this.bodyLeft === 0 && this.#arrived === null;
  }

  /** The connection ends with this exchange. */
  get closing(): boolean {
    return this.#closing;
  }

  values(name: string): readonly string[] {
    return valuesIn(this.head.rawHeaders, name);
  }

  takeBody(): Buffer | null {
    if (this.bodyLeft > 0 || this.#reader !== null) return null;
    const body = this.#arrived;
    this.#arrived = null;
    this.#endTold = true;
    this.#connection.resume();
    return body;
  }

  readBody(reader: BodyReader, idleMs: number): void {
    this.#reader = reader;
    this.#discarding = false;
    if (this.bodyLeft > 0) this.#connection.socket.setTimeout(idleMs);
    this.resumeBody();
  }

  pauseBody(): void {
    this.#paused = true;
    if (this.bodyLeft > 0) this.#connection.socket.pause();
  }

  resumeBody(): void {
    this.#paused = false;
    const waiting = this.#arrived;
    this.#arrived = null;
    if (waiting && !this.#discarding) this.#reader?.onData(waiting);
    if (this.#paused) return;
    this.#connection.resume();
    if (this.bodyLeft === 0) this.#tellEnd();
  }

  stopReading(): void {
    this.#detach();
    this.pauseBody();
  }

  discardBody(): void {
    this.#detach();
    this.#discarding = true;
    this.resumeBody();
  }

  writeContinue(): void {} // only asked for where the client waits for it, which is Node's to serve

  get headSent(): boolean {
    return this.#headSent;
  }

  respond(statusCode: number, headers: readonly string[]): void {
    let lines = '';
    let length: string | null = null;
    let dated = false;
    for (let index = 0; index < headers.length; index += 2) {
      const name = headers[index]!;
      const value = headers[index + 1]!;
      if (name.length === 14 && name.toLowerCase() === 'content-length') length = value;
      else if (name.length === 4 && name.toLowerCase() === 'date') dated = true;
      lines += `${name}: ${value}\r\n`;
    }
    assertSendable(lines);
    this.#headSent = true;
    const bodiless = this.method === 'HEAD' || statusCode === 204 || statusCode === 304;
    this.#framing = bodiless ? 'none' : length !== null ? 'length' : 'chunked';
    if (this.#framing === 'length') this.#owed = Number(length);
    const framing = this.#framing === 'chunked' ? 'transfer-encoding: chunked\r\n' : '';
    const { keepAlive } = this.#connection;
    const date = dated ? '' : `date: ${this.#connection.date}\r\n`;
    this.#waiting =
      `HTTP/1.1 ${statusCode} ${STATUS_CODES[statusCode] ?? 'Unknown'}\r\n${lines}${framing}` +
      `${date}${this.#closing ? 'connection: close\r\n\r\n' : keepAlive}`;
  }

  write(chunk: Uint8Array): boolean {
    const { socket } = this.#connection;
    if (this.ended || socket.destroyed) return true;
    const text = this.#waiting ?? '';
    this.#waiting = null;
    if (chunk.length === 0 || this.#framing === 'none') return text === '' || socket.write(text, 'latin1');
    if (this.#framing === 'chunked')
      return this.#send(`${text}${chunk.length.toString(16)}\r\n`, chunk, '\r\n');
    if (!this.#pay(chunk)) return true;
    return this.#send(text, chunk, '');
  }

  flush(): void {
    if (this.#waiting === null || this.#connection.socket.destroyed) return;
    this.#connection.socket.write(this.#waiting, 'latin1');
    this.#waiting = null;
  }

  end(chunk?: Uint8Array): void {
    const { socket } = this.#connection;
    if (this.ended || socket.destroyed) return;
    const text = this.#waiting ?? '';
    this.#waiting = null;
    const data = chunk !== undefined && chunk.length > 0 && this.#framing !== 'none' ? chunk : null;
    if (this.#framing === 'chunked') {
      if (data) this.#send(`${text}${data.length.toString(16)}\r\n`, data, `\r\n${lastChunk}`);
      else socket.write(text + lastChunk, 'latin1');
    } else {
      if (data && !this.#pay(data)) return;
      if (this.#owed > 0) return this.destroy();
      if (data) this.#send(text, data, '');
      else if (text !== '') socket.write(text, 'latin1');
    }
    this.ended = true;
    // An owner may answer before it has read all. Unread data would stop the next request of this connection.
    if (this.bodyLeft > 0 && !this.#closing && !this.#discarding) this.discardBody();
    this.#connection.settle();
  }

  closeAfter(): void {
    this.#closing = true;
  }

  destroy(): void {
    this.#connection.socket.destroy();
  }

  // What the connection calls.

  /** Of what came, as much as belongs to the body. The rest is the next request's. */
  receive(chunk: Buffer): Buffer | null {
    const own = chunk.length > this.bodyLeft ? chunk.subarray(0, this.bodyLeft) : chunk;
    this.bodyLeft -= own.length;
    if (!this.#discarding && own.length > 0) {
      if (this.#reader && !this.#paused) this.#reader.onData(own);
      else this.#keep(own);
    }
    if (this.bodyLeft === 0 && !this.#paused) this.#tellEnd();
    return own.length === chunk.length ? null : chunk.subarray(own.length);
  }

  idle(): void {
    if (this.bodyLeft > 0 && !this.#paused) this.#reader?.onIdle(); // while it is paused the owner is the slow one
  }

  /** The client has gone. */
  lost(): void {
    if (this.#lost) return;
    this.#lost = true;
    if (this.bodyLeft > 0) this.#reader?.onLost();
    if (!this.ended) this.onGone?.();
  }

  #keep(own: Buffer): void {
    this.#arrived = this.#arrived ? Buffer.concat([this.#arrived, own]) : own;
    this.#connection.socket.pause();
  }

  #tellEnd(): void {
    if (this.#endTold || this.#arrived !== null) return;
    if (!this.#reader && !this.#discarding) return;
    this.#endTold = true;
    if (!this.#discarding) this.#connection.socket.setTimeout(0);
    this.#reader?.onEnd();
    if (this.ended) this.#connection.settle();
  }

  #detach(): void {
    if (this.#reader) this.#connection.socket.setTimeout(0);
    this.#reader = null;
  }

  /** Counts what is written of an announced body; breaks off where there is more. */
  #pay(chunk: Uint8Array): boolean {
    this.#owed -= chunk.length;
    if (this.#owed >= 0) return true;
    this.destroy();
    return false;
  }

  #send(before: string, chunk: Uint8Array, after: string): boolean {
    const { socket } = this.#connection;
    const around = before.length + after.length;
    if (around > 0 && chunk.length <= joinedBytesMax) {
      const joined = Buffer.allocUnsafe(around + chunk.length);
      joined.write(before, 0, 'latin1');
      joined.set(chunk, before.length);
      if (after !== '') joined.write(after, before.length + chunk.length, 'latin1');
      return socket.write(joined);
    }
    if (around === 0) return socket.write(chunk);
    socket.cork();
    if (before !== '') socket.write(before, 'latin1');
    const more = socket.write(chunk);
    if (after !== '') socket.write(after, 'latin1');
    socket.uncork();
    return more;
  }
}
