/**
 * Writes ZIPs byte by byte, so that every lie an archive can tell can be told. What is not overridden is right.
 * `local` and `central` override single fields of one header only.
 */
import { crc32, deflateRawSync } from 'node:zlib';

export interface HeaderFields {
  name: Buffer;
  flags: number;
  method: number;
  crc32: number;
  compressedBytes: number;
  sizeBytes: number;
  extra: Buffer;
  /** External attributes; Unix mode in the upper half. Central header only. */
  attributes: number;
  /** Central header only. */
  headerOffset: number;
  disk: number;
}

export interface EntrySpec {
  name: string | Buffer;
  content?: string | Buffer;
  /** 0 stored, 8 deflated (default). Other numbers only label. */
  method?: number;
  /** Unix mode with file type. */
  mode?: number;
  flags?: number;
  /** What lies in the archive instead of the compressed content. */
  data?: Buffer;
  /** After the data; the flag is set, and the local header has zeros. */
  descriptor?: 'signed' | 'unsigned' | 'signed64' | 'unsigned64';
  /** Bytes put between this entry and the next. */
  gapAfter?: Buffer;
  local?: Partial<HeaderFields>;
  central?: Partial<HeaderFields>;
}

export interface EndSpec {
  before?: Buffer;
  after?: Buffer;
  comment?: Buffer;
  entries?: number;
  entriesOnDisk?: number;
  directoryBytes?: number;
  directoryOffset?: number;
  /** Bytes put behind the central directory. */
  afterDirectory?: Buffer;
  /** Writes a ZIP64 end record too. */
  zip64?: Partial<{ entries: bigint; directoryBytes: bigint; directoryOffset: bigint; recordOffset: bigint }>;
}

export function buildZip(specs: readonly EntrySpec[], end: EndSpec = {}): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  const add = (part: Buffer) => {
    parts.push(part);
    offset += part.length;
  };
  if (end.before) add(end.before);
  for (const spec of specs) {
    const { fields, data } = describe(spec, offset);
    const deferred: Partial<HeaderFields> = spec.descriptor
      ? { crc32: 0, compressedBytes: 0, sizeBytes: 0 }
      : {};
    add(localHeader({ ...fields, ...deferred, ...spec.local }));
    add(data);
    if (spec.descriptor) add(descriptor(fields, spec.descriptor));
    if (spec.gapAfter) add(spec.gapAfter);
    directory.push(centralHeader({ ...fields, ...spec.central }));
  }
  const directoryOffset = offset;
  for (const header of directory) add(header);
  const directoryBytes = offset - directoryOffset;
  if (end.afterDirectory) add(end.afterDirectory);
  if (end.zip64) {
    const recordOffset = offset;
    add(
      bytes([
        [4, 0x06064b50],
        [8, 44n],
        [2, 45],
        [2, 45],
        [4, 0],
        [4, 0],
        [8, end.zip64.entries ?? BigInt(specs.length)],
        [8, end.zip64.entries ?? BigInt(specs.length)],
        [8, end.zip64.directoryBytes ?? BigInt(directoryBytes)],
        [8, end.zip64.directoryOffset ?? BigInt(directoryOffset)],
      ]),
    );
    add(
      bytes([
        [4, 0x07064b50],
        [4, 0],
        [8, end.zip64.recordOffset ?? BigInt(recordOffset)],
        [4, 1],
      ]),
    );
  }
  const entries = end.entries ?? specs.length;
  add(
    bytes([
      [4, 0x06054b50],
      [2, 0],
      [2, 0],
      [2, end.entriesOnDisk ?? entries],
      [2, entries],
      [4, end.directoryBytes ?? directoryBytes],
      [4, end.directoryOffset ?? directoryOffset],
      [2, end.comment?.length ?? 0],
    ]),
  );
  if (end.comment) add(end.comment);
  if (end.after) add(end.after);
  return Buffer.concat(parts);
}

/** An extra field. */
export function extraField(id: number, content: Buffer): Buffer {
  return Buffer.concat([
    bytes([
      [2, id],
      [2, content.length],
    ]),
    content,
  ]);
}

export function uint64(...values: number[]): Buffer {
  return bytes(values.map(value => [8, BigInt(value)]));
}

function describe(spec: EntrySpec, headerOffset: number): { fields: HeaderFields; data: Buffer } {
  const content = Buffer.from(spec.content ?? '');
  const name = Buffer.from(spec.name);
  const method = spec.method ?? (name.at(-1) === 0x2f ? 0 : 8);
  const data = spec.data ?? (method === 8 ? deflateRawSync(content) : content);
  return {
    data,
    fields: {
      name,
      flags: (spec.flags ?? 0x0800) | (spec.descriptor ? 0x0008 : 0),
      method,
      crc32: crc32(content),
      compressedBytes: data.length,
      sizeBytes: content.length,
      extra: Buffer.alloc(0),
      attributes: ((spec.mode ?? 0) << 16) >>> 0,
      headerOffset,
      disk: 0,
    },
  };
}

function localHeader(fields: HeaderFields): Buffer {
  return Buffer.concat([
    bytes([
      [4, 0x04034b50],
      [2, 20],
      [2, fields.flags],
      [2, fields.method],
      [4, 0x5a210000],
      [4, fields.crc32],
      [4, fields.compressedBytes],
      [4, fields.sizeBytes],
      [2, fields.name.length],
      [2, fields.extra.length],
    ]),
    fields.name,
    fields.extra,
  ]);
}

function centralHeader(fields: HeaderFields): Buffer {
  return Buffer.concat([
    bytes([
      [4, 0x02014b50],
      [2, 0x0314],
      [2, 20],
      [2, fields.flags],
      [2, fields.method],
      [4, 0x5a210000],
      [4, fields.crc32],
      [4, fields.compressedBytes],
      [4, fields.sizeBytes],
      [2, fields.name.length],
      [2, fields.extra.length],
      [2, 0],
      [2, fields.disk],
      [2, 0],
      [4, fields.attributes],
      [4, fields.headerOffset],
    ]),
    fields.name,
    fields.extra,
  ]);
}

function descriptor(fields: HeaderFields, form: NonNullable<EntrySpec['descriptor']>): Buffer {
  const width = form.endsWith('64') ? 8 : 4;
  const size = (value: number): [number, number | bigint] => [width, width === 8 ? BigInt(value) : value];
  return bytes([
    ...(form.startsWith('signed') ? ([[4, 0x08074b50]] as [number, number][]) : []),
    [4, fields.crc32],
    size(fields.compressedBytes),
    size(fields.sizeBytes),
  ]);
}

/** Little-endian numbers as [width, value]. */
function bytes(values: [number, number | bigint][]): Buffer {
  return Buffer.concat(
    values.map(([width, value]) => {
      const buffer = Buffer.alloc(8);
      buffer.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)));
      return buffer.subarray(0, width);
    }),
  );
}
