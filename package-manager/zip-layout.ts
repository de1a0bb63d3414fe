/**
 * Checks that the entries of a ZIP lie side by side from its first byte to its central directory, and that each local
 * header says what the directory says. Then no two entries share bytes (a bomb that counts the same data many times),
 * nothing hides between them, and a reader that goes by local headers would see the same files.
 */
import type { ByteSource } from './byte-source.ts';
import { invalid } from './refusal.ts';
import { FLAG, type ZipDirectory, type ZipEntry } from './zip-directory.ts';
import { zip64Values } from './zip-extra.ts';

/** An entry with the place of its compressed bytes. */
export interface LocatedEntry extends ZipEntry {
  dataOffset: number;
}

const localHeaderBytes = 30;
const localSignature = 0x04034b50;
const descriptorSignature = 0x08074b50;
/** Flags on which both headers must agree. */
const decisiveFlags =
  FLAG.encrypted | FLAG.descriptor | FLAG.patched | FLAG.strongEncryption | FLAG.maskedHeaders;

/** All entries in the order of their bytes. */
export async function locateEntries(source: ByteSource, directory: ZipDirectory): Promise<LocatedEntry[]> {
  const ordered = directory.entries.toSorted((a, b) => a.headerOffset - b.headerOffset);
  const located: LocatedEntry[] = [];
  let position = 0;
  for (const [index, entry] of ordered.entries()) {
    if (entry.headerOffset !== position) throw misplaced(entry, position);
    const next = ordered[index + 1]?.headerOffset ?? directory.offset;
    const { dataOffset, sizesKnown } = await readLocalHeader(source, entry, directory.offset);
    const dataEnd = dataOffset + entry.compressedBytes;
    if (dataEnd > next) {
      throw invalid('it overlaps what comes after it', {
        entry: entry.name,
        expected: 'entries side by side; build the ZIP again',
      });
    }
    if (dataEnd < next) await assertDescriptor(source, entry, dataEnd, next);
    else if (!sizesKnown) throw strayBytes(entry, 0);
    located.push({ ...entry, dataOffset });
    position = next;
  }
  if (position !== directory.offset) {
    throw invalid(`it has ${directory.offset} bytes that belong to no entry`, {
      expected: 'nothing but entries before the central directory',
    });
  }
  return located;
}

async function readLocalHeader(
  source: ByteSource,
  entry: ZipEntry,
  end: number,
): Promise<{ dataOffset: number; sizesKnown: boolean }> {
  if (entry.headerOffset + localHeaderBytes > end) throw mismatch(entry, 'place');
  const header = await source.read(entry.headerOffset, localHeaderBytes);
  if (header.readUInt32LE(0) !== localSignature) throw mismatch(entry, 'signature');
  const nameEnd = header.readUInt16LE(26);
  const dataOffset = entry.headerOffset + localHeaderBytes + nameEnd + header.readUInt16LE(28);
  if (dataOffset > end) throw mismatch(entry, 'length');
  const rest = await source.read(
    entry.headerOffset + localHeaderBytes,
    dataOffset - entry.headerOffset - localHeaderBytes,
  );
  if (!rest.subarray(0, nameEnd).equals(entry.nameBytes)) throw mismatch(entry, 'name');
  if (header.readUInt16LE(8) !== (entry.method === 'stored' ? 0 : 8)) throw mismatch(entry, 'method');
  const flags = header.readUInt16LE(6);
  if ((flags & decisiveFlags) !== (entry.flags & decisiveFlags)) throw mismatch(entry, 'flags');
  const deferred = (flags & FLAG.descriptor) !== 0;
  const local = zip64Values(
    rest.subarray(nameEnd),
    { sizeBytes: header.readUInt32LE(22), compressedBytes: header.readUInt32LE(18) },
    entry,
    { lenient: true }, // a streaming writer reserves the field before it knows whether it needs it
  );
  const crc32 = header.readUInt32LE(14);
  const same =
    crc32 === entry.crc32 &&
    local.sizeBytes === entry.sizeBytes &&
    local.compressedBytes === entry.compressedBytes;
  // With a data descriptor each value may be left at zero here.
  const agrees = (value: number, truth: number) => value === truth || (deferred && value === 0);
  if (!agrees(crc32, entry.crc32)) throw mismatch(entry, 'checksum');
  if (!agrees(local.sizeBytes, entry.sizeBytes)) throw mismatch(entry, 'size');
  if (!agrees(local.compressedBytes, entry.compressedBytes)) throw mismatch(entry, 'compressed size');
  return { dataOffset, sizesKnown: same };
}

/** The bytes between an entry's data and the next entry can only be its data descriptor, in one of four forms. */
async function assertDescriptor(
  source: ByteSource,
  entry: ZipEntry,
  start: number,
  end: number,
): Promise<void> {
  const length = end - start;
  if (!(entry.flags & FLAG.descriptor) || ![12, 16, 20, 24].includes(length)) throw strayBytes(entry, length);
  let descriptor = await source.read(start, length);
  if (length === 16 || length === 24) {
    if (descriptor.readUInt32LE(0) !== descriptorSignature) throw mismatch(entry, 'data descriptor');
    descriptor = descriptor.subarray(4);
  }
  const wide = descriptor.length === 20;
  const sizeAt = (position: number) =>
    wide ? descriptor.readBigUInt64LE(position) : BigInt(descriptor.readUInt32LE(position));
  if (
    descriptor.readUInt32LE(0) !== entry.crc32 ||
    sizeAt(4) !== BigInt(entry.compressedBytes) ||
    sizeAt(wide ? 12 : 8) !== BigInt(entry.sizeBytes)
  ) {
    throw mismatch(entry, 'data descriptor');
  }
}

function misplaced(entry: ZipEntry, position: number): Error {
  return entry.headerOffset < position
    ? invalid('it overlaps another entry', {
        entry: entry.name,
        expected: 'entries side by side; build the ZIP again',
      })
    : strayBytes(entry, entry.headerOffset - position);
}

function strayBytes(entry: ZipEntry, bytes: number): Error {
  return invalid(
    bytes > 0 ? `${bytes} bytes beside it belong to no entry` : 'its data descriptor is missing',
    {
      entry: entry.name,
      expected: 'entries side by side, nothing before or between them; build the ZIP again',
    },
  );
}

function mismatch(entry: ZipEntry, what: string): Error {
  return invalid(`its local header and the central directory disagree about its ${what}`, {
    entry: entry.name,
    expected: 'the same in both; build the ZIP again',
  });
}
