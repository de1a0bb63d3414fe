/**
 * Which headers pass the router, in both directions. Pure. Hop-by-hop headers end here, also those that `Connection`
 * names; `x-holdfast-*` is Holdfast's own language and never passes from outside to inside or back; what is said of the
 * client (`x-forwarded-*`) is what the router itself sees, unless the settings trust the client. Trailers do not pass.
 */
import { OWNER_HEADER, HoldfastError } from '#core';
import { parseHeaderBlock } from '#frames';

export type RequestHeader = 'pass' | 'drop' | 'forwarded' | 'host' | 'request-id' | 'connection';

const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Said by a client about itself or its own proxies: forgeable. */
const clientClaims = /^(?:forwarded|x-forwarded-.*|x-real-ip)$/;

const kinds = new Map<string, { name: string; kind: RequestHeader }>();
const kindsMax = 1_000;

/** Lower-case name and what to do with it; remembered, as the same few spellings come again and again. */
function classify(rawName: string): { name: string; kind: RequestHeader } {
  const known = kinds.get(rawName);
  if (known) return known;
  const name = rawName.toLowerCase();
  const entry = { name, kind: kindOf(name) };
  if (kinds.size < kindsMax) kinds.set(rawName, entry);
  return entry;
}

function kindOf(name: string): RequestHeader {
  if (name === 'connection') return 'connection';
  if (name === 'host') return 'host';
  if (name === 'x-request-id') return 'request-id';
  // The router itself answers Expect; HTTP/2 is not spoken.
  if (hopByHop.has(name) || name === 'expect' || name === 'http2-settings') return 'drop';
  if (name.startsWith('x-holdfast-')) return 'drop';
  return clientClaims.test(name) ? 'forwarded' : 'pass';
}

/** Framing and routing do not go away because a client lists them in `Connection`. */
const notOptional = new Set(['host', 'content-length', 'close', 'keep-alive']);

/** What a component can make a URL of without its path becoming another. */
const hostForm = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?$/;

export interface ClientFacts {
  requestId: string;
  /** Host of an absolute-form target; wins over the header. */
  authority: string | null;
  remoteAddress: string;
  /** Believe the client's `x-forwarded-*`. */
  trust: boolean;
}

/**
 * The request's headers for the owner, flat; without those of the channel.
 * @throws HoldfastError HF_REQUEST_INVALID for a second Host or one that is none, which two readers could take differently
 */
export function requestHeaders(raw: readonly string[], client: ClientFacts): string[] {
  const headers: string[] = [];
  let host = client.authority;
  let hosts = 0;
  let named: Set<string> | null = null;
  let forwardedFor = '';
  let proto = '';
  let forwardedHost = '';
  for (let index = 0; index < raw.length; index += 2) {
    const { name, kind } = classify(raw[index]!);
    const value = raw[index + 1]!;
    switch (kind) {
      case 'pass':
        headers.push(name, value);
        break;
      case 'host':
        hosts += 1;
        host ??= value;
        break;
      case 'connection':
        named = connectionOptions(value, named);
        break;
      case 'forwarded':
        if (!client.trust) break;
        if (name === 'x-forwarded-for') forwardedFor += `${value}, `;
        else if (name === 'x-forwarded-proto') proto ||= value;
        else if (name === 'x-forwarded-host') forwardedHost ||= value;
        else headers.push(name, value);
        break;
      case 'drop':
      case 'request-id':
        break;
    }
  }
  if (hosts > 1) throw new HoldfastError('HF_REQUEST_INVALID', 'there must be one Host header');
  if (host && !hostForm.test(host)) {
    throw new HoldfastError('HF_REQUEST_INVALID', 'the Host must be a name or address, and maybe a port');
  }
  const kept = named === null ? headers : without(headers, named);
  if (host !== null) kept.push('host', host);
  kept.push('x-request-id', client.requestId, 'x-forwarded-for', forwardedFor + client.remoteAddress);
  kept.push('x-forwarded-proto', proto || 'http');
  if (forwardedHost || host) kept.push('x-forwarded-host', forwardedHost || host!);
  return kept;
}

/** Headers that a strict parser has read, as the block that goes to a host. */
export function headerLines(flat: readonly string[]): string {
  let lines = '';
  for (let index = 0; index < flat.length; index += 2) lines += `${flat[index]!}: ${flat[index + 1]!}\r\n`;
  return lines;
}

/** The owner's response headers for the client, flat. The host has kept back what is not for others. */
export function responseHeaders(
  statusCode: number,
  block: Buffer,
  facts: { owner: string; requestId: string },
): string[] {
  const headers = parseHeaderBlock(block.toString('latin1'));
  const passed: string[] = [];
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index]!;
    if (name === 'x-request-id') continue;
    if (name === 'content-length' && statusCode === 204) continue; // RFC 9110 §8.6: there must be none
    passed.push(name, headers[index + 1]!);
  }
  passed.push(OWNER_HEADER, facts.owner, 'x-request-id', facts.requestId);
  return passed;
}

function connectionOptions(value: string, into: Set<string> | null): Set<string> | null {
  if (value === 'keep-alive' || value === 'close') return into; // nearly always
  let named = into;
  for (const option of value.toLowerCase().split(',')) {
    const name = option.trim();
    if (name === '' || notOptional.has(name)) continue;
    named ??= new Set();
    named.add(name);
  }
  return named;
}

function without(headers: string[], named: ReadonlySet<string>): string[] {
  const kept: string[] = [];
  for (let index = 0; index < headers.length; index += 2) {
    if (!named.has(headers[index]!)) kept.push(headers[index]!, headers[index + 1]!);
  }
  return kept;
}
