/** Names of keys, and reading what Redis answers. */
import type { WireMessage } from '#messaging';

export type Names = ReturnType<typeof createNames>;

export function createNames(prefix: string) {
  return {
    stream: (subject: string) => `${prefix}:{${subject}}`,
    again: (subject: string, group: string) => `${prefix}:{${subject}}:again:${group}`,
    published: (subject: string, messageId: string) => `${prefix}:id:${subject}:${messageId}`,
    dead: `${prefix}:dead`,
  };
}

export function textOf(value: unknown): string {
  return Buffer.isBuffer(value) ? value.toString() : String(value);
}

/** Fields and values, one after the other. */
export function readFields(list: unknown): Map<string, Buffer> {
  const fields = new Map<string, Buffer>();
  const flat = list as Buffer[];
  for (let index = 0; index + 1 < flat.length; index += 2)
    fields.set(flat[index]!.toString(), flat[index + 1]!);
  return fields;
}

/** An entry that a stranger has added may lack all of it. */
export function toWire(subject: string, fields: Map<string, Buffer>, entryId = ''): WireMessage {
  return {
    subject,
    messageId: fields.get('i')?.toString() ?? entryId,
    headers: readHeaders(fields.get('h')),
    body: fields.get('b') ?? Buffer.alloc(0),
  };
}

function readHeaders(bytes: Buffer | undefined): Record<string, string> {
  if (!bytes) return {};
  try {
    const found = JSON.parse(bytes.toString()) as Record<string, unknown>;
    return Object.fromEntries(Object.entries(found).map(([name, value]) => [name, String(value)]));
  } catch {
    return {}; // not ours
  }
}
