/**
 * One request of a client and the response to it, whatever has read it from the wire: all that the router does with a client
 * goes through here. Two kinds exist: one on `node:http` for everything that HTTP/1.1 may be (`node-exchange.ts`), and one on bare
 * sockets for the plain requests that most are (`fast/`).
 *
 * Listeners are fields, one of each kind: whoever serves the exchange sets them, and nothing is allocated for a request that
 * needs none. `onClose` is called exactly once.
 */

const none: readonly string[] = [];

/** Gets the body, in order. Exactly one of `onEnd`, `onLost` and nothing (if the reading stops before) follows. */
export interface BodyReader {
  onData(chunk: Buffer): void;
  onEnd(): void;
  /** Nothing came for a while, though it could have. Reading goes on. */
  onIdle(): void;
  /** The client has gone in the middle. */
  onLost(): void;
}

export interface Exchange {
  readonly method: string;
  /** As the client sent it, one character for each byte. */
  readonly target: string;
  /** As the client sent them: name, value, name, … */
  readonly rawHeaders: readonly string[];
  /** IPv4 stays IPv4 on a socket that speaks both. */
  readonly remoteAddress: string;
  /** It asks for a tunnel: after an answer 101 both bodies are bytes of another protocol. */
  readonly upgrade: boolean;
  /** The client waits for `100 Continue` before it sends the body. */
  readonly expectsContinue: boolean;
  /** The length of the body that the request announces: 0 for none, null when it is chunked. */
  readonly announcedBytes: number | null;
  /** The client has sent all of its request. */
  readonly received: boolean;
  /** All of the body has been read. */
  readonly bodyEnded: boolean;
  /** The values of a header (lower-case name), in order. */
  values(name: string): readonly string[];

  /** All of the body, if it has arrived already and nobody has begun to read it; then it counts as read. */
  takeBody(): Buffer | null;
  /** Reads on from where the last reader stopped. */
  readBody(reader: BodyReader, idleMs: number): void;
  pauseBody(): void;
  resumeBody(): void;
  /** The reader gets nothing more; what comes waits. */
  stopReading(): void;
  /** The reader gets nothing more; what comes is thrown away. */
  discardBody(): void;

  writeContinue(): void;
  /** The response's head has been given to `respond`. */
  readonly headSent: boolean;
  /** The head; it goes out with the first data, the end or a flush. Headers are flat, without hop-by-hop ones. @throws for a head that cannot be sent */
  respond(statusCode: number, headers: readonly string[]): void;
  /** False: wait for `onDrain`. */
  write(chunk: Uint8Array): boolean;
  flush(): void;
  end(chunk?: Uint8Array): void;
  /** The connection ends after this response. Only before `respond` does the client hear of it. */
  closeAfter(): void;
  /** Breaks the connection off: half an answer must not look like a whole one. */
  destroy(): void;

  onDrain: (() => void) | null;
  /** The client has gone before the end of its response. */
  onGone: (() => void) | null;
  /** The response is out, or the connection has ended. */
  onClose: (() => void) | null;
}

/** The one value of a header; undefined if it is not there exactly once. */
export function soleValue(exchange: Exchange, name: string): string | undefined {
  const values = exchange.values(name);
  return values.length === 1 ? values[0] : undefined;
}

/** The values of a header (lower-case name) in a flat list of names and values. */
export function valuesIn(rawHeaders: readonly string[], name: string): readonly string[] {
  let values: string[] | null = null;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const present = rawHeaders[index]!;
    if (present.length !== name.length || present.toLowerCase() !== name) continue;
    (values ??= []).push(rawHeaders[index + 1]!);
  }
  return values ?? none;
}

/** Framing is not the owner's to say. */
const sendableLines =
  /^(?:(?!connection:|keep-alive:|transfer-encoding:|upgrade:)[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t\x20-\x7e\x80-\xff]*\r\n)*$/i;

/** Of the header lines of a response, before they are written to a socket as they are. @throws TypeError for what would break its framing */
export function assertSendable(lines: string): void {
  if (!sendableLines.test(lines)) throw new TypeError('a header of the response cannot be sent');
}

export function withoutIPv6Prefix(address: string | undefined): string {
  if (address === undefined) return 'unknown';
  return address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address;
}
