/**
 * An exchange whose client asks to speak WebSocket. If the owner answers 101, the connection becomes a tunnel: what the client sends is the
 * body of the request, what the owner sends that of the response, and neither has a length. Any other answer ends the connection.
 */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { assertSendable, valuesIn, withoutIPv6Prefix, type BodyReader, type Exchange } from './exchange.ts';

const { STATUS_CODES } = process.getBuiltinModule('node:http');
/** How long a client may take to notice that its connection has ended. */
const lingerMs = 1_000;

export class TunnelExchange implements Exchange {
  readonly upgrade = true;
  readonly expectsContinue = false;
  readonly announcedBytes = null;
  readonly remoteAddress: string;
  onDrain: (() => void) | null = null;
  onGone: (() => void) | null = null;
  onClose: (() => void) | null = null;
  headSent = false;
  bodyEnded = false;
  readonly #request: IncomingMessage;
  readonly #socket: Socket;
  #reader: BodyReader | null = null;
  #listening = false;
  #ended = false;

  /** @param early what the client has sent after its request already */
  constructor(request: IncomingMessage, socket: Socket, early: Buffer) {
    this.#request = request;
    this.#socket = socket;
    this.remoteAddress = withoutIPv6Prefix(socket.remoteAddress);
    if (early.length > 0) socket.unshift(early);
    socket.on('error', () => {}); // shows as the end of the connection; the error adds nothing
    socket.on('drain', () => this.onDrain?.());
    socket.once('close', () => {
      this.bodyEnded = true;
      this.#reader?.onLost();
      if (!this.#ended) this.onGone?.();
      this.onClose?.();
    });
  }

  get method(): string {
    return this.#request.method!;
  }

  get target(): string {
    return this.#request.url!;
  }

  get rawHeaders(): readonly string[] {
    return this.#request.rawHeaders;
  }

  /** The request itself has no body; what follows it is the tunnel's. */
  get received(): boolean {
    return true;
  }

  values(name: string): readonly string[] {
    return valuesIn(this.#request.rawHeaders, name);
  }

  takeBody(): null {
    return null;
  }

  /** A tunnel may be silent for as long as it likes. */
  readBody(reader: BodyReader): void {
    this.#reader = reader;
    if (!this.#listening) {
      this.#listening = true;
      this.#socket.on('data', (chunk: Buffer) => this.#reader?.onData(chunk));
      this.#socket.on('end', () => {
        this.bodyEnded = true;
        this.#reader?.onEnd();
      });
    }
    this.#socket.resume();
  }

  pauseBody(): void {
    this.#socket.pause();
  }

  resumeBody(): void {
    if (this.#reader) this.#socket.resume();
  }

  stopReading(): void {
    this.#reader = null;
    this.#socket.pause();
  }

  discardBody(): void {
    this.#reader = null;
    this.#socket.resume();
  }

  writeContinue(): void {}

  respond(statusCode: number, headers: readonly string[]): void {
    let lines = '';
    for (let index = 0; index < headers.length; index += 2)
      lines += `${headers[index]}: ${headers[index + 1]}\r\n`;
    assertSendable(lines);
    this.headSent = true;
    const connection = statusCode === 101 ? 'connection: upgrade\r\nupgrade: websocket' : 'connection: close';
    this.#socket.write(
      `HTTP/1.1 ${statusCode} ${STATUS_CODES[statusCode] ?? 'Unknown'}\r\n${lines}${connection}\r\n\r\n`,
      'latin1',
    );
  }

  write(chunk: Uint8Array): boolean {
    return this.#socket.destroyed || this.#socket.write(chunk);
  }

  flush(): void {}

  end(chunk?: Uint8Array): void {
    if (this.#ended) return;
    this.#ended = true;
    if (chunk) this.#socket.end(chunk);
    else this.#socket.end();
    this.#socket.setTimeout(lingerMs, () => this.#socket.destroy());
    this.discardBody();
  }

  /** Only who speaks WebSocket could say goodbye in it; clients of a tunnel that ends connect again. */
  closeAfter(): void {
    if (this.headSent) this.#socket.destroySoon();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
