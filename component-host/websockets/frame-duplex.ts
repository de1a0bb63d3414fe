/**
 * A tunnel as a stream, for a library that speaks a protocol over a socket. What it writes first is the head of its HTTP answer, which
 * goes out as the head of the tunnel's answer; everything after it are bytes of the protocol, with back-pressure both ways.
 */
import { Duplex } from 'node:stream';
import type { IncomingRequest } from '#frames';

/** Belong to the client's own connection; the router writes them. */
const ofConnection = /^(?:connection|upgrade):/i;

export class FrameDuplex extends Duplex {
  readonly #request: IncomingRequest;
  #goOn: ((error?: Error | null) => void) | null = null;

  constructor(request: IncomingRequest) {
    super({ autoDestroy: true });
    this.#request = request;
    request.receiver = {
      onData: chunk => this.push(chunk),
      onEnd: () => void this.push(null),
      onReset: () => void this.destroy(),
    };
    request.onWritable = () => this.#released();
    request.onAbort = () => void this.destroy();
  }

  override _read(): void {
    this.#request.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    if (!this.#request.answered) {
      this.#answer(chunk.toString('latin1'));
      return done();
    }
    if (this.#request.write(chunk)) return done();
    this.#goOn = done;
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#request.end();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.#request.closed) this.#request.breakOff('the tunnel was closed');
    this.#released();
    done(error);
  }

  #released(): void {
    const goOn = this.#goOn;
    this.#goOn = null;
    goOn?.();
  }

  #answer(head: string): void {
    const [line, ...lines] = head.split('\r\n');
    const status = Number(line!.split(' ')[1]);
    const headers = lines
      .filter(text => text !== '' && !ofConnection.test(text))
      .map(text => `${text.slice(0, text.indexOf(':')).toLowerCase()}${text.slice(text.indexOf(':'))}\r\n`);
    this.#request.respond({ status, reason: '', headers: headers.join('') }, null, false);
  }
}
