/** Writes a ZIP whose bytes depend on nothing but names and contents: sorted, one fixed time, fixed modes. */
import AdmZip from 'adm-zip';

export interface ArchiveEntry {
  name: string;
  content: Buffer;
}

/** The first moment that a ZIP can express. Read in local time, as ZIP times are, so that it is the same everywhere. */
const fixedTime = new Date(1980, 0, 1, 0, 0, 0);
const fileMode = 0o100644;

export function makeArchive(entries: readonly ArchiveEntry[]): Buffer {
  const zip = new AdmZip(undefined, { noSort: true });
  const sorted = [...entries].sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const { name, content } of sorted) {
    const entry = zip.addFile(name, content, '', fileMode);
    entry.header.time = fixedTime;
  }
  return zip.toBuffer();
}
