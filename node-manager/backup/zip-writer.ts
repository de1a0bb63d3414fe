/**
 * Writes a ZIP as a stream, one entry in memory at a time. Sizes and checksums stand in front of the content, as strict readers want them, and
 * 64-bit fields only where they are needed. Format: PKWARE APPNOTE 6.3.10. Pure but for the compression.
 */
import { promisify } from 'node:util';
import { crc32, deflateRaw } from 'node:zlib';

export interface ZipPart {
  name: string;
  content: Buffer;
  /** For what is compressed already. */
  stored?: boolean;
}

interface Entry {
  name: Buffer;
  method: number;
  crc32: number;
  compressedBytes: number;
  sizeBytes: number;
  offset: number;
}

const compress = promisify<Buffer, Buffer>(deflateRaw);
/** Names are UTF-8. */
const flags = 0x0800;
/** 1980-01-01: when it was made stands in its manifest. */
const time = 0x00210000;
/** Read and written by its owner alone. */
const attributes = (0o100600 << 16) >>> 0;
const wide = 0xffff_ffff;
/** Readers refuse what unpacks to suspiciously much more. */
const ratioMax = 100;

export async function* writeZip(parts: AsyncIterable<ZipPart>): AsyncGenerator<Buffer> {
  const entries: Entry[] = [];
  let offset = 0;
  for await (const { name, content, stored } of parts) {
    const small = stored ? content : await compress(content);
    const useful = small.length < content.length && small.length * ratioMax > content.length;
    const data = useful ? small : content;
    const entry: Entry = {
      name: Buffer.from(name),
      method: useful ? 8 : 0,
      crc32: crc32(content),
      compressedBytes: data.length,
      sizeBytes: content.length,
      offset,
    };
    entries.push(entry);
    const header = localHeader(entry);
    yield header;
    yield data;
    offset += header.length + data.length;
  }
  const directory = Buffer.concat(entries.map(centralHeader));
  yield directory;
  yield endRecords({ entries: entries.length, bytes: directory.length, offset });
}

export function localHeader({ name, ...entry }: Entry): Buffer {
  return Buffer.concat([fields([4, 0x04034b50], [2, 20], ...common(entry), [2, name.length], [2, 0]), name]);
}

export function centralHeader({ name, ...entry }: Entry): Buffer {
  const far = entry.offset >= wide;
  const extra = far ? fields([2, 0x0001], [2, 8], [8, entry.offset]) : Buffer.alloc(0);
  return Buffer.concat([
    fields(
      [4, 0x02014b50],
      [2, 0x0314],
      [2, far ? 45 : 20],
      ...common(entry),
      [2, name.length],
      [2, extra.length],
      [2, 0],
      [2, 0],
      [2, 0],
      [4, attributes],
      [4, far ? wide : entry.offset],
    ),
    name,
    extra,
  ]);
}

function common(entry: Omit<Entry, 'name'>): Field[] {
  return [
    [2, flags],
    [2, entry.method],
    [4, time],
    [4, entry.crc32],
    [4, entry.compressedBytes],
    [4, entry.sizeBytes],
  ];
}

export function endRecords(directory: { entries: number; bytes: number; offset: number }): Buffer {
  const { entries, bytes, offset } = directory;
  const large = entries >= 0xffff || bytes >= wide || offset >= wide;
  const wideRecords: Field[] = [
    [4, 0x06064b50],
    [8, 44],
    [2, 45],
    [2, 45],
    [4, 0],
    [4, 0],
    [8, entries],
    [8, entries],
    [8, bytes],
    [8, offset],
    [4, 0x07064b50],
    [4, 0],
    [8, offset + bytes],
    [4, 1],
  ];
  const count = Math.min(entries, 0xffff);
  return fields(
    ...(large ? wideRecords : []),
    [4, 0x06054b50],
    [2, 0],
    [2, 0],
    [2, count],
    [2, count],
    [4, Math.min(bytes, wide)],
    [4, Math.min(offset, wide)],
    [2, 0],
  );
}

/** Width in bytes, value. */
type Field = [2 | 4 | 8, number];

/** Little-endian. */
function fields(...values: Field[]): Buffer {
  return Buffer.concat(
    values.map(([width, value]) => {
      const buffer = Buffer.alloc(width);
      if (width === 2) buffer.writeUInt16LE(value);
      else if (width === 4) buffer.writeUInt32LE(value);
      else buffer.writeBigUInt64LE(BigInt(value));
      return buffer;
    }),
  );
}
