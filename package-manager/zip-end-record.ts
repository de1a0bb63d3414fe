/** Finds the end record of a ZIP (with its ZIP64 part), which says where the central directory is. */
import type { ByteSource } from './byte-source.ts';
import { invalid } from './refusal.ts';
import { safeInteger } from './zip-extra.ts';

export interface EndRecord {
  entries: number;
  directoryOffset: number;
  directoryBytes: number;
}

const recordBytes = 22;
const commentBytesMax = 0xffff;
const signature = Buffer.from('PK\x05\x06', 'latin1');
const locatorBytes = 20;
const locatorSignature = 0x07064b50;
const wideRecordBytes = 56;
const wideRecordSignature = 0x06064b50;

export async function readEndRecord(source: ByteSource): Promise<EndRecord> {
  const { record, offset } = await findRecord(source);
  if (record.readUInt16LE(4) !== 0 || record.readUInt16LE(6) !== 0) throw severalDisks();
  if (record.readUInt16LE(8) !== record.readUInt16LE(10)) throw severalDisks();
  const classic: EndRecord = {
    entries: record.readUInt16LE(10),
    directoryBytes: record.readUInt32LE(12),
    directoryOffset: record.readUInt32LE(16),
  };
  const wide = await readWideRecord(source, offset);
  const end = wide ? agreed(classic, wide) : classic;
  const stray = (wide?.offset ?? offset) - (end.directoryOffset + end.directoryBytes);
  if (stray !== 0) {
    throw invalid(
      stray > 0
        ? `it has ${stray} bytes before its content or its end record that belong to no entry`
        : `its central directory would end ${-stray} bytes too late: it is damaged or was cut`,
      { expected: 'a plain ZIP that starts with its first entry, nothing put before it' },
    );
  }
  return end;
}

async function findRecord(source: ByteSource): Promise<{ record: Buffer; offset: number }> {
  const { sizeBytes } = source;
  if (sizeBytes < recordBytes) {
    throw invalid(`it has only ${sizeBytes} bytes`, { expected: 'a ZIP archive with a manifest.json' });
  }
  const tailStart = Math.max(0, sizeBytes - recordBytes - commentBytesMax);
  const tail = await source.read(tailStart, sizeBytes - tailStart);
  const found = tail.lastIndexOf(signature);
  if (found === -1) {
    const begins = (await source.read(0, 4)).toString('latin1') === 'PK\x03\x04';
    throw invalid(begins ? 'its end is missing: it was cut off' : 'it is not a ZIP archive', {
      expected: begins ? 'the complete file; send it again' : 'a ZIP archive, as `holdfast pack` makes it',
    });
  }
  const record = tail.subarray(found);
  if (record.length < recordBytes) {
    throw invalid('its end record is cut off', { expected: 'the complete file; send it again' });
  }
  const surplus = record.length - recordBytes - record.readUInt16LE(20);
  if (surplus !== 0) {
    throw invalid(
      surplus > 0 ? `it has ${surplus} bytes after its end` : `its last ${-surplus} bytes are missing`,
      { expected: 'a file that ends with the ZIP end record and its comment' },
    );
  }
  return { record, offset: tailStart + found };
}

async function readWideRecord(
  source: ByteSource,
  recordOffset: number,
): Promise<(EndRecord & { offset: number }) | null> {
  if (recordOffset < locatorBytes) return null;
  const locatorOffset = recordOffset - locatorBytes;
  const locator = await source.read(locatorOffset, locatorBytes);
  if (locator.readUInt32LE(0) !== locatorSignature) return null;
  const offset = safeInteger(locator.readBigUInt64LE(8));
  if (locator.readUInt32LE(4) !== 0 || locator.readUInt32LE(16) > 1) throw severalDisks();
  if (offset + wideRecordBytes > locatorOffset) throw liar();
  const record = await source.read(offset, wideRecordBytes);
  if (record.readUInt32LE(0) !== wideRecordSignature) throw liar();
  const length = 12 + safeInteger(record.readBigUInt64LE(4));
  if (offset + length !== locatorOffset) throw liar();
  if (record.readUInt32LE(16) !== 0 || record.readUInt32LE(20) !== 0) throw severalDisks();
  if (record.readBigUInt64LE(24) !== record.readBigUInt64LE(32)) throw severalDisks();
  return {
    offset,
    entries: safeInteger(record.readBigUInt64LE(32)),
    directoryBytes: safeInteger(record.readBigUInt64LE(40)),
    directoryOffset: safeInteger(record.readBigUInt64LE(48)),
  };
}

/** The 64-bit record counts, and may not contradict the 32-bit one where that is not saturated. */
function agreed(classic: EndRecord, wide: EndRecord): EndRecord {
  const agrees = (field: keyof EndRecord, saturated: number) =>
    classic[field] === saturated || classic[field] === wide[field];
  if (
    !agrees('entries', 0xffff) ||
    !agrees('directoryBytes', 0xffff_ffff) ||
    !agrees('directoryOffset', 0xffff_ffff)
  ) {
    throw liar();
  }
  return wide;
}

function liar(): Error {
  return invalid('its ZIP64 end record contradicts its ordinary one', {
    expected: 'one truth; build the ZIP again without ZIP64',
  });
}

function severalDisks(): Error {
  return invalid('it spans several disks or counts its entries in two ways', {
    expected: 'an archive in one file',
  });
}
