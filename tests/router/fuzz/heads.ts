/**
 * Byte streams for the two parsers: a corpus of requests, good, odd and hostile, and mutations of them that stay near to what is
 * nearly right. Everything follows from a seed.
 */

export type Random = () => number;

/** Mulberry32: small, and the same everywhere. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const corpus = [
  'GET / HTTP/1.1\r\nHost: h\r\n\r\n',
  'GET /db/a?b=c&d=%20 HTTP/1.1\r\nhost: example.org:8000\r\nuser-agent: x/1 (y)\r\naccept: */*\r\n\r\n',
  'POST /db/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello',
  'PUT /x HTTP/1.1\r\nhost: h\r\nconnection: keep-alive\r\ncontent-length: 12\r\ncookie: a=1\r\ncookie: b=2\r\n\r\nGET / HTTP/1',
  'DELETE /a/b/c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n',
  'HEAD /%2e%2e/ HTTP/1.1\r\nhost: h\r\nx: \t spaced \t\r\nempty:\r\n\r\n',
  'PATCH /db HTTP/1.1\r\nhost:h\r\ncontent-length:0\r\nx-a:\x80\xff\r\n\r\n',
  'OPTIONS /~`!@$^&*()_+-={}|[]\\:";\'<>?,./ HTTP/1.1\r\nhost: h\r\n\r\n',
  'GET /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
  'POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
  'POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc',
  'POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: +3\r\n\r\nabc',
  'POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 3, 3\r\n\r\nabc',
  'POST /a HTTP/1.1\r\nhost: h\r\nContent_Length: 3\r\n\r\nabc',
  'GET /a HTTP/1.1\r\nhost: h\r\nx: a\r\n folded\r\n\r\n',
  'GET /a HTTP/1.1\r\nhost : h\r\n\r\n',
  'GET /a HTTP/1.1\nhost: h\n\n',
  '\r\nGET /a HTTP/1.1\r\nhost: h\r\n\r\n',
  'GET  /a HTTP/1.1\r\nhost: h\r\n\r\n',
  'GET /a#b HTTP/1.1\r\nhost: h\r\n\r\n',
  'GET /a HTTP/1.0\r\nhost: h\r\n\r\n',
  'GET http://h/a HTTP/1.1\r\nhost: h\r\n\r\n',
  'GET /a HTTP/1.1\r\nhost: h\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n',
  'GET /a HTTP/1.1\r\nhost: h\r\nproxy-connection: keep-alive\r\n\r\n',
  'POST /a HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\nx',
  `GET /${'l'.repeat(300)} HTTP/1.1\r\nhost: h\r\n${'x-many: 1\r\n'.repeat(40)}\r\n`,
];

/** What parsers differ over. */
const splices = [
  '\r', '\n', '\r\n', '\r\n\r\n', '\0', ' ', '\t', ':', ': ', ',', ';', '#', '?', '/', '%00', '\x7f', '\x80', '\xff', '\x0b', '\x0c', '"',
  'HTTP/1.1', 'HTTP/1.0', 'GET ', 'host: x\r\n', 'Host:\r\n', 'content-length: 4\r\n', 'Content-Length: 0\r\n', 'content-length: 010\r\n',
  'content-length: 9007199254740993\r\n', 'transfer-encoding: chunked\r\n', 'Transfer-Encoding:\tchunked\r\n', 'transfer-encoding\r\n',
  'connection: close\r\n', 'connection: keep-alive\r\n', 'connection: close, x\r\n', 'Connection:\r\n', 'upgrade: h2c\r\n', 'expect: x\r\n',
  'trailer: x\r\n', 'te: trailers\r\n', 'keep-alive: timeout=5\r\n', 'x: y\r\n', 'x:\x01\r\n', ' x: y\r\n',
]; // prettier-ignore

/** One stream: a mutated request, or some of them joined. */
export function hostileStream(random: Random): Buffer {
  const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)]!;
  let text = pick(corpus);
  while (random() < 0.3) text += pick(corpus);
  for (let mutations = Math.floor(random() * 4); mutations > 0; mutations -= 1) {
    const at = Math.floor(random() * (text.length + 1));
    const length = Math.floor(random() * 4);
    const kind = random();
    if (kind < 0.35) text = text.slice(0, at) + pick(splices) + text.slice(at);
    else if (kind < 0.5) text = text.slice(0, at) + pick(splices) + text.slice(at + length);
    else if (kind < 0.65) text = text.slice(0, at) + text.slice(at + length);
    else if (kind < 0.8) text = text.slice(0, at) + String.fromCharCode(random() * 256) + text.slice(at + 1);
    else text = text.slice(0, lineAfter(text, at)) + pick(splices) + text.slice(lineAfter(text, at));
  }
  return Buffer.from(text, 'latin1');
}

function lineAfter(text: string, at: number): number {
  const end = text.indexOf('\r\n', at);
  return end === -1 ? text.length : end + 2;
}
