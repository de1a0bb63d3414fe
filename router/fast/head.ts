/**
 * Reads the head of a plain request: an exact, strict subset of HTTP/1.1, in which there is nothing to interpret. What is
 * accepted here, Node's own parser reads as exactly the same request with the same end (tests/router/fuzz proves it); whatever
 * is not, however harmless, is `null` and Node's to judge. Pure.
 *
 * Accepted: one of seven methods, a target that starts with a slash, HTTP/1.1; lines that end with CRLF; names that are tokens,
 * without folded lines; one Host; a Connection that says `keep-alive` or `close`, or none; one Content-Length in plain digits, or no
 * body. Never: Transfer-Encoding, Expect, Upgrade.
 */

export interface Head {
  readonly method: string;
  readonly target: string;
  /** Name, value, name, … The same array for a head that repeats the headers of the last one. */
  readonly rawHeaders: readonly string[];
  /** The header lines as they came. */
  readonly block: string;
  readonly bodyBytes: number;
  /** The client asks for the end of the connection after this. */
  readonly close: boolean;
  /** Where the body begins. */
  readonly end: number;
}

const headBytesMax = 8 * 1024;
const headersMax = 64;

const lineForm = /^(GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS) (\/[!"$-~]*) HTTP\/1\.1$/;
const blockForm = /^(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)+$/;
const lengthForm = /^(?:0|[1-9][0-9]{0,14})$/;
const headEnd = Buffer.from('\r\n\r\n');

/** @param last the head before it on the same connection: clients repeat themselves */
export function readHead(bytes: Buffer, from: number, last: Head | null): Head | null {
  const ending = bytes.indexOf(headEnd, from);
  if (ending === -1 || ending - from > headBytesMax) return null;
  const text = bytes.toString('latin1', from, ending + 2);
  const lineEnd = text.indexOf('\r\n');
  const line = lineForm.exec(text.slice(0, lineEnd));
  if (line === null) return null;
  const [, method, target] = line as unknown as [string, string, string];
  const block = text.slice(lineEnd + 2);
  const end = ending + headEnd.length;
  if (last !== null && last.block === block) {
    const { rawHeaders, bodyBytes, close } = last;
    return { method, target, rawHeaders, block, bodyBytes, close, end };
  }
  const facts = readBlock(block);
  return facts && { method, target, block, end, ...facts };
}

function readBlock(block: string): Pick<Head, 'rawHeaders' | 'bodyBytes' | 'close'> | null {
  if (!blockForm.test(block)) return null;
  const rawHeaders: string[] = [];
  let hosts = 0;
  let length: string | null = null;
  let connection: string | null = null;
  for (let at = 0; at < block.length;) {
    const lineEnd = block.indexOf('\r\n', at);
    const colon = block.indexOf(':', at);
    const name = block.slice(at, colon);
    const value = block.slice(colon + 1, lineEnd).replace(outerBlanks, '');
    rawHeaders.push(name, value);
    at = lineEnd + 2;
    switch (kindOf(name)) {
      case 'plain':
        break;
      case 'host':
        hosts += 1;
        break;
      case 'length':
        if (length !== null || !lengthForm.test(value)) return null;
        length = value;
        break;
      case 'connection':
        if (connection !== null) return null;
        connection = value.toLowerCase();
        break;
      case 'never':
        return null;
    }
  }
  if (hosts !== 1 || rawHeaders.length > 2 * headersMax) return null;
  if (connection !== null && connection !== 'keep-alive' && connection !== 'close') return null;
  return { rawHeaders, bodyBytes: Number(length ?? 0), close: connection === 'close' };
}

const outerBlanks = /^[\t ]+|[\t ]+$/g;

function kindOf(name: string): 'plain' | 'host' | 'length' | 'connection' | 'never' {
  switch (name.length) {
    case 4:
      return name.toLowerCase() === 'host' ? 'host' : 'plain';
    case 6:
      return name.toLowerCase() === 'expect' ? 'never' : 'plain';
    case 7:
      return name.toLowerCase() === 'upgrade' ? 'never' : 'plain';
    case 10:
      return name.toLowerCase() === 'connection' ? 'connection' : 'plain';
    case 14:
      return name.toLowerCase() === 'content-length' ? 'length' : 'plain';
    case 16:
      return name.toLowerCase() === 'proxy-connection' ? 'never' : 'plain';
    case 17:
      return name.toLowerCase() === 'transfer-encoding' ? 'never' : 'plain';
    default:
      return 'plain';
  }
}
