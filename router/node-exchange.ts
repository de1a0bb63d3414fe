/** An exchange on `node:http`: everything that HTTP/1.1 allows. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { valuesIn, withoutIPv6Prefix, type BodyReader, type Exchange } from './exchange.ts';

export class NodeExchange implements Exchange {
  readonly upgrade = false;
  readonly expectsContinue: boolean;
  onDrain: (() => void) | null = null;
  onGone: (() => void) | null = null;
  onClose: (() => void) | null = null;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  #reader: BodyReader | null = null;
  #idleMs = 0;
  #listening = false;

  constructor(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean) {
    this.#request = request;
    this.#response = response;
    this.expectsContinue = expectsContinue;
    response.on('error', () => {}); // a broken connection shows as the end of the response; its error adds nothing
    response.on('drain', () => this.onDrain?.());
    response.once('close', () => {
      if (!response.writableFinished) this.onGone?.();
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

  get remoteAddress(): string {
    return withoutIPv6Prefix(this.#request.socket.remoteAddress);
  }

  get announcedBytes(): number | null {
    const { headers } = this.#request;
    if (headers['transfer-encoding'] !== undefined) return null;
    return Number(headers['content-length'] ?? 0);
  }

  get received(): boolean {
    return this.#request.complete;
  }

  get bodyEnded(): boolean {
    return this.#request.complete && this.#request.readableEnded;
  }

  values(name: string): readonly string[] {
    return valuesIn(this.#request.rawHeaders, name);
  }

  takeBody(): null {
    return null; // Node hands a body over piece by piece
  }

  readBody(reader: BodyReader, idleMs: number): void {
    const request = this.#request;
    this.#reader = reader;
    this.#idleMs = idleMs;
    if (!this.#listening) {
      this.#listening = true;
      request.on('data', (chunk: Buffer) => this.#reader?.onData(chunk));
      request.on('end', () => {
        request.setTimeout(0);
        this.#reader?.onEnd();
      });
      request.on('close', () => {
        if (!request.readableEnded) this.#reader?.onLost();
      });
      request.on('timeout', () => this.#onTimeout());
    }
    request.setTimeout(idleMs);
    request.resume();
  }

  pauseBody(): void {
    this.#request.pause();
  }

  resumeBody(): void {
    this.#request.resume();
  }

  stopReading(): void {
    this.#detach();
    this.#request.pause();
  }

  discardBody(): void {
    this.#detach();
    this.#request.resume();
  }

  writeContinue(): void {
    this.#response.writeContinue();
  }

  get headSent(): boolean {
    return this.#response.headersSent;
  }

  respond(statusCode: number, headers: readonly string[]): void {
    this.#response.writeHead(statusCode, headers as string[]);
  }

  write(chunk: Uint8Array): boolean {
    return this.#response.write(chunk);
  }

  flush(): void {
    this.#response.flushHeaders();
  }

  end(chunk?: Uint8Array): void {
    this.#response.end(chunk);
  }

  closeAfter(): void {
    if (!this.#response.headersSent) this.#response.shouldKeepAlive = false;
    // Where the head is out already, the client is told by the end of the connection.
    this.#response.once('close', () => this.#request.socket.destroySoon());
  }

  destroy(): void {
    this.#response.destroy();
  }

  #detach(): void {
    if (this.#reader) this.#request.setTimeout(0);
    this.#reader = null;
  }

  #onTimeout(): void {
    if (!this.#reader || this.#request.complete) return;
    if (this.#request.isPaused())
      this.#request.setTimeout(this.#idleMs); // the owner is the slow one
    else this.#reader.onIdle();
  }
}
