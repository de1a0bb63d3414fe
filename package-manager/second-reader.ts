/**
 * Lets adm-zip, which tools around Holdfast unpack with, read the central directory too, and refuses an archive of
 * which it sees something else than we do. It gets headers alone, with an end record made for them: the archive itself
 * it would have to hold in memory. And a slice of them at a time: it reads synchronously, and slowly.
 */
import { nextTurn } from './bounded.ts';
import { invalid } from './refusal.ts';
import type { ZipEntry } from './zip-directory.ts';

const sliceEntries = 200;

export async function assertSecondReaderAgrees(entries: readonly ZipEntry[]): Promise<void> {
  const { default: AdmZip } = await import('adm-zip'); // late: idle processes need not carry it
  for (let start = 0; start < entries.length; start += sliceEntries) {
    const slice = entries.slice(start, start + sliceEntries);
    let seen: string[];
    try {
      const zip = new AdmZip(directoryOf(slice), { noSort: true });
      seen = zip.getEntries().map(({ rawEntryName, header }) =>
        describe({
          nameBytes: rawEntryName,
          sizeBytes: header.size,
          compressedBytes: header.compressedSize,
          crc32: header.crc,
          method: header.method === 0 ? 'stored' : 'deflated',
          headerOffset: header.offset,
        }),
      );
    } catch (cause) {
      throw invalid(`a second reader refuses it (${(cause as Error).message})`, {
        expected: 'an archive that all readers understand; build the ZIP again',
        cause,
      });
    }
    const differing = slice.find((entry, index) => describe(entry) !== seen[index]);
    if (differing ?? seen.length !== slice.length) {
      throw invalid('two readers see different content in it', {
        ...(differing ? { entry: differing.name } : {}),
        expected: 'an archive that all readers understand alike; build the ZIP again',
      });
    }
    await nextTurn();
  }
}

type Facts = Pick<
  ZipEntry,
  'nameBytes' | 'sizeBytes' | 'compressedBytes' | 'crc32' | 'method' | 'headerOffset'
>;

function describe(facts: Facts): string {
  const { nameBytes, sizeBytes, compressedBytes, crc32, method, headerOffset } = facts;
  return [nameBytes.toString('hex'), sizeBytes, compressedBytes, crc32, method, headerOffset].join(' ');
}

/** A ZIP of nothing but these headers. */
function directoryOf(entries: readonly ZipEntry[]): Buffer {
  const headers = Buffer.concat(entries.map(entry => entry.raw));
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(headers.length, 12);
  return Buffer.concat([headers, end]);
}
