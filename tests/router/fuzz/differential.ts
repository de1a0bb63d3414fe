/**
 * The fast path's parser against Node's own. Whatever the first accepts, the second must read as the same request with the same end:
 * a sentinel that is put behind that end must be the next request. Otherwise two readers of one connection could be made to
 * disagree on where a request begins, which is request smuggling.
 */
import { createServer, type IncomingMessage } from 'node:http';
import { Duplex } from 'node:stream';
import { isDeepStrictEqual } from 'node:util';
import { readHead, type Head } from '../../../router/fast/head.ts';
import { hostileStream, randomFrom } from './heads.ts';

interface Seen {
  method: string;
  target: string;
  rawHeaders: readonly string[];
  bodyBytes: number;
}

interface Probe {
  bytes: Buffer;
  fast: { seen: Seen; close: boolean };
}

interface Disagreement {
  /** As JavaScript writes it. */
  stream: string;
  fast: Seen;
  node: (Seen | undefined)[];
}

interface FuzzReport {
  streams: number;
  /** Those that the fast path took. */
  accepted: number;
  disagreements: Disagreement[];
}

const sentinel = 'GET /the-next-request HTTP/1.1\r\nhost: sentinel\r\n\r\n';
const batch = 250;
/** A body that is announced longer is not made up. */
const bodyBytesMax = 4_096;

export async function fuzzHeads({ seed, streams }: { seed: number; streams: number }): Promise<FuzzReport> {
  const random = randomFrom(seed);
  const report: FuzzReport = { streams, accepted: 0, disagreements: [] };
  let last: Head | null = null;
  let probes: Probe[] = [];
  for (let count = 0; count < streams; count += 1) {
    const bytes = hostileStream(random);
    const head = readHead(bytes, 0, last);
    if (head && head.bodyBytes <= bodyBytesMax) {
      last = head; // what is remembered must not change what is read
      report.accepted += 1;
      const { method, target, rawHeaders, bodyBytes } = head;
      const body = Buffer.alloc(bodyBytes, 'x');
      bytes.copy(body, 0, head.end);
      const probe = Buffer.concat([bytes.subarray(0, head.end), body, Buffer.from(sentinel)]);
      probes.push({
        bytes: probe,
        fast: { seen: { method, target, rawHeaders, bodyBytes }, close: head.close },
      });
    }
    if (probes.length === batch || count === streams - 1) {
      await compare(probes, report);
      probes = [];
    }
  }
  return report;
}

async function compare(probes: readonly Probe[], report: FuzzReport): Promise<void> {
  const node = await readByNode(probes.map(probe => probe.bytes));
  probes.forEach(({ bytes, fast }, index) => {
    const [first, next] = node[index]!;
    // After a request that says so, neither of them reads any further.
    const asIs = fast.close ? next === undefined : next?.target === '/the-next-request';
    if (isDeepStrictEqual(first, fast.seen) && asIs) return;
    report.disagreements.push({
      stream: JSON.stringify(bytes.toString('latin1')),
      fast: fast.seen,
      node: [first, next],
    });
  });
}

/** What a server of Node hands to its program for each stream. */
async function readByNode(streams: readonly Buffer[]): Promise<Seen[][]> {
  const server = createServer({ maxHeaderSize: 16 * 1024 });
  const seen = new Map<unknown, Seen[]>();
  server.on('request', (request: IncomingMessage) => {
    const entry: Seen = {
      method: request.method!,
      target: request.url!,
      rawHeaders: request.rawHeaders,
      bodyBytes: 0,
    };
    seen.get(request.socket)!.push(entry);
    request.on('data', (chunk: Buffer) => (entry.bodyBytes += chunk.length));
  });
  server.on('clientError', () => {}); // refuses the stream: nothing more is seen of it
  const all = streams.map(bytes => {
    const requests: Seen[] = [];
    const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
    seen.set(socket, requests);
    server.emit('connection', socket);
    socket.push(bytes);
    return { socket, requests };
  });
  for (let turns = 0; turns < 5; turns += 1) await new Promise(resolve => setImmediate(resolve));
  for (const { socket } of all) socket.destroy();
  return all.map(({ requests }) => requests);
}
