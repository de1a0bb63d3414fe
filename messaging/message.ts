/**
 * What a message may be, and its form on the wire. Everything that comes from a component is checked here, before a broker sees it;
 * what comes from a broker may have been put there by a stranger, and is read with defaults for what it lacks.
 */
import { HoldfastError, type Message } from '#core';
import type { WireMessage } from './broker.ts';

/** The subject of messages without a type. */
const untyped = 'message';

const propertiesMax = 64;
const propertyBytesMax = 4_096;
const textMax = 256;

const subjectForm = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/;
const nameForm = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;
const reserved = 'hf-';

/** @throws HoldfastError HF_MESSAGE_INVALID */
export function checkSubject(subject: string): string {
  if (typeof subject === 'string' && subject.length <= textMax && subjectForm.test(subject)) return subject;
  throw invalid(
    'messageType',
    subject,
    `1 to ${textMax} letters, digits, _ and -, in parts that are joined by dots`,
  );
}

/** @throws HoldfastError HF_MESSAGE_INVALID, HF_MESSAGE_TOO_LARGE */
export function encodeMessage(message: Message, contentBytesMax: number): WireMessage {
  const { messageId, source, timestamp, messageType, content, bytes, contentType, properties } = message;
  checkText('messageId', messageId);
  checkText('source', source);
  checkText('timestamp', timestamp);
  if (contentType !== undefined) checkText('contentType', contentType);
  const subject = checkSubject(messageType ?? untyped);
  if (content !== undefined && bytes !== undefined) {
    throw invalid('bytes', 'bytes and content', 'either content (text) or bytes, not both');
  }
  const body = bytes
    ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    : Buffer.from(content ?? '');
  if (body.length > contentBytesMax) {
    throw new HoldfastError(
      'HF_MESSAGE_TOO_LARGE',
      `the content of the message ${messageId} has ${body.length} bytes, more than the ${contentBytesMax} that this publisher takes; ` +
        'send a reference to where the data is, or raise contentBytesMax in its settings',
      { details: { messageId, sizeBytes: body.length, contentBytesMax } },
    );
  }
  const headers: Record<string, string> = { 'hf-source': source, 'hf-time': timestamp };
  if (contentType !== undefined) headers['hf-content-type'] = contentType;
  if (bytes) headers['hf-content'] = 'bytes';
  else if (content === undefined) headers['hf-content'] = 'none';
  if (messageType === undefined) headers['hf-untyped'] = '1';
  addProperties(headers, properties ?? {});
  return { subject, messageId, headers, body };
}

export function decodeMessage({ subject, messageId, headers, body }: WireMessage): Message {
  const properties: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (!name.startsWith(reserved)) properties[name] = value;
  }
  const kind = headers['hf-content'];
  const contentType = headers['hf-content-type'];
  return {
    messageId,
    source: headers['hf-source'] ?? 'unknown',
    timestamp: headers['hf-time'] ?? new Date(0).toISOString(),
    ...(headers['hf-untyped'] === undefined ? { messageType: subject } : {}),
    ...(kind === 'bytes'
      ? { bytes: new Uint8Array(body) }
      : kind === 'none'
        ? {}
        : { content: body.toString() }),
    ...(contentType === undefined ? {} : { contentType }),
    properties,
  };
}

/** About what it takes in memory and on disk. */
export function wireBytes({ headers, body }: WireMessage): number {
  let bytes = 200 + body.length;
  for (const name in headers) bytes += name.length + headers[name]!.length;
  return bytes;
}

function addProperties(headers: Record<string, string>, properties: Record<string, string>): void {
  const entries = Object.entries(properties);
  if (entries.length > propertiesMax) {
    throw invalid('properties', entries.length, `at most ${propertiesMax} properties`);
  }
  for (const [name, value] of entries) {
    if (!nameForm.test(name) || name.startsWith(reserved)) {
      throw invalid(
        'properties',
        name,
        `names of 1 to 128 letters, digits, _, - and dots, not beginning with ${reserved}`,
      );
    }
    if (typeof value !== 'string' || Buffer.byteLength(value) > propertyBytesMax) {
      throw invalid(`properties.${name}`, typeof value, `a text of at most ${propertyBytesMax} bytes`);
    }
    headers[name] = value;
  }
}

function checkText(name: string, value: unknown): void {
  if (typeof value === 'string' && value.length > 0 && value.length <= textMax && !hasControl(value)) return;
  throw invalid(name, value, `a text of 1 to ${textMax} characters without control characters`);
}

function hasControl(text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code < 32 || code === 127) return true;
  }
  return false;
}

function invalid(path: string, value: unknown, expected: string): HoldfastError {
  const shown = String(value).slice(0, 100);
  return new HoldfastError(
    'HF_MESSAGE_INVALID',
    `the message's ${path} is ${JSON.stringify(shown)}; expected: ${expected}`,
    {
      details: { problems: [{ path, value: shown, expected }] },
    },
  );
}
