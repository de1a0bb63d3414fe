/**
 * Reads a ZIP's central directory from its raw bytes: the one list of entries that everything else is checked against.
 *
 * Strict where readers of ZIPs differ, because a difference between the reader that checks and the one that unpacks
 * is how checks are bypassed: one disk, one end record that ends the file, no bytes before, between or after that
 * belong to nothing, ZIP64 fields only where they are needed. Format: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.5.
 */
import type { ByteSource } from './byte-source.ts';
import { decodeEntryName } from './entry-name.ts';
import type { PackageLimits } from './limits.ts';
import { invalid, tooLarge } from './refusal.ts';
import { readEndRecord } from './zip-end-record.ts';
import { zip64Values } from './zip-extra.ts';

export interface ZipEntry {
  name: string;
  nameBytes: Buffer;
  isFolder: boolean;
  /** Whether any execute bit is set in its Unix mode. */
  executable: boolean;
  method: 'stored' | 'deflated';
  flags: number;
  crc32: number;
  compressedBytes: number;
  sizeBytes: number;
  /** Where its local header starts. */
  headerOffset: number;
  /** Its header in the central directory, with name, extra fields and comment. */
  raw: Buffer;
}

export interface ZipDirectory {
  entries: ZipEntry[];
  /** Where the directory starts, and so the last entry must end. */
  offset: number;
}

export const FLAG = {
  encrypted: 0x0001,
  descriptor: 0x0008,
  patched: 0x0020,
  strongEncryption: 0x0040,
  maskedHeaders: 0x2000,
} as const;

const headerBytes = 46;
const headerSignature = 0x02014b50;
/** A typical header has 100 to 200 bytes; more than this on average is padding. */
const headerBytesOnAverageMax = 1024;

export async function readDirectory(source: ByteSource, limits: PackageLimits): Promise<ZipDirectory> {
  const end = await readEndRecord(source);
  if (end.entries > limits.entriesMax) {
    throw tooLarge('it declares too many entries', {
      expected: 'fewer files; bundle the code into one file',
      limit: limits.entriesMax,
      actual: end.entries,
    });
  }
  const directoryBytesMax = Math.max(64, limits.entriesMax) * headerBytesOnAverageMax;
  if (end.directoryBytes > directoryBytesMax) {
    throw tooLarge('its central directory is too large', {
      expected: 'no comments or extra fields of such size',
      limit: directoryBytesMax,
      actual: end.directoryBytes,
    });
  }
  const raw = await source.read(end.directoryOffset, end.directoryBytes);
  const entries: ZipEntry[] = [];
  let position = 0;
  while (entries.length < end.entries) {
    if (position + headerBytes > raw.length || raw.readUInt32LE(position) !== headerSignature) {
      throw invalid(`entry ${entries.length + 1} of ${end.entries} has no central directory header`, {
        expected: 'as many headers as the end record declares; build the ZIP again',
      });
    }
    const length =
      headerBytes +
      raw.readUInt16LE(position + 28) +
      raw.readUInt16LE(position + 30) +
      raw.readUInt16LE(position + 32);
    if (position + length > raw.length) {
      throw invalid(`header ${entries.length + 1} reaches past the central directory`, {
        expected: 'a header that fits; build the ZIP again',
      });
    }
    entries.push(readHeader(raw.subarray(position, position + length), limits));
    position += length;
  }
  if (position !== raw.length) {
    throw invalid(`its central directory has ${raw.length - position} bytes beyond the declared entries`, {
      expected: 'as many headers as the end record declares; build the ZIP again',
    });
  }
  return { entries, offset: end.directoryOffset };
}

/** `header` is one central directory header with its name, extra fields and comment. */
function readHeader(header: Buffer, limits: PackageLimits): ZipEntry {
  const nameEnd = headerBytes + header.readUInt16LE(28);
  const nameBytes = header.subarray(headerBytes, nameEnd);
  const extra = header.subarray(nameEnd, nameEnd + header.readUInt16LE(30));
  const name = decodeEntryName(nameBytes, limits);
  const flags = header.readUInt16LE(8);
  assertReadable(name, flags);
  const classic = {
    sizeBytes: header.readUInt32LE(24),
    compressedBytes: header.readUInt32LE(20),
    headerOffset: header.readUInt32LE(42),
  };
  const values = zip64Values(extra, classic, { name, nameBytes });
  if (header.readUInt16LE(34) !== 0) {
    throw invalid('it lies on another disk', { entry: name, expected: 'an archive in one file' });
  }
  const entry: ZipEntry = {
    name,
    nameBytes,
    isFolder: name.endsWith('/'),
    executable: ((header.readUInt32LE(38) >>> 16) & 0o111) !== 0,
    method: methodOf(header.readUInt16LE(10), name),
    flags,
    crc32: header.readUInt32LE(16),
    ...values,
    raw: header,
  };
  assertFileType(entry, header.readUInt32LE(38) >>> 16);
  assertSizes(entry);
  return entry;
}

function assertReadable(entry: string, flags: number): void {
  if (flags & (FLAG.encrypted | FLAG.strongEncryption | FLAG.maskedHeaders)) {
    throw invalid('it is encrypted', { entry, expected: 'an archive without a password' });
  }
  if (flags & FLAG.patched) {
    throw invalid('it is compressed patch data', { entry, expected: 'plain file content' });
  }
}

function methodOf(method: number, entry: string): ZipEntry['method'] {
  if (method === 0) return 'stored';
  if (method === 8) return 'deflated';
  throw invalid(`compression method ${method} is not supported`, {
    entry,
    expected: 'stored (0) or deflate (8); choose the ordinary ZIP compression',
  });
}

/** The Unix file type in the external attributes, whatever system the header claims to be from. 0: not said. */
function assertFileType(entry: ZipEntry, mode: number): void {
  const type = mode & 0o170000;
  const kinds: Record<number, string> = {
    0o120000: 'a symbolic link',
    0o060000: 'a block device',
    0o020000: 'a character device',
    0o010000: 'a named pipe',
    0o140000: 'a socket',
  };
  const plain = type === 0 || type === (entry.isFolder ? 0o040000 : 0o100000);
  if (plain) return;
  const kind =
    kinds[type] ?? (type === 0o040000 ? 'a folder by its mode, not by its name' : 'of an unknown type');
  throw invalid(`it is ${kind}`, {
    entry: entry.name,
    expected: 'ordinary files and folders; store a link as the file that it points to',
  });
}

function assertSizes(entry: ZipEntry): void {
  if (entry.isFolder && (entry.sizeBytes > 0 || entry.compressedBytes > 2)) {
    throw invalid('it is a folder with content', { entry: entry.name, expected: 'an empty folder entry' });
  }
  if (entry.method === 'stored' && entry.sizeBytes !== entry.compressedBytes) {
    throw invalid(`it is stored, but its sizes differ (${entry.compressedBytes} and ${entry.sizeBytes})`, {
      entry: entry.name,
      expected: 'equal sizes; build the ZIP again',
    });
  }
}
