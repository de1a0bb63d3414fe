import assert from 'node:assert/strict';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { archiveLimits, openArchive } from '#package-manager';
import {
  centralHeader,
  endRecords,
  localHeader,
  writeZip,
  type ZipPart,
} from '../../../node-manager/backup/zip-writer.ts';

describe('the ZIP of a backup', function () {
  this.timeout(30_000);
  let directory: string;
  let path: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'holdfast-zip-'));
    path = join(directory, 'a.zip');
  });
  after(() => rm(directory, { recursive: true, force: true }));

  async function write(parts: ZipPart[]): Promise<void> {
    async function* each() {
      yield* parts;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of writeZip(each())) chunks.push(chunk);
    await writeFile(path, Buffer.concat(chunks));
  }

  const content = fc.uint8Array({ maxLength: 300 }).map(bytes => Buffer.from(bytes));
  const parts = fc.uniqueArray(
    fc.record({
      name: fc.stringMatching(/^[a-z]{1,8}(\/[a-zä€]{1,8})?\.json$/),
      content: fc.oneof(
        content,
        content.map(bytes => Buffer.concat(Array.from({ length: 40 }, () => bytes))),
      ),
      stored: fc.boolean(),
    }),
    { selector: part => part.name, maxLength: 6 },
  );

  it('is read by the strictest of readers, every part as it was', async () => {
    await fc.assert(
      fc.asyncProperty(parts, async given => {
        await write(given);
        const archive = await openArchive(path);
        try {
          assert.deepEqual(
            archive.entries.map(({ name }) => name),
            given.map(({ name }) => name),
          );
          for (const part of given) assert.deepEqual(await archive.read(part.name), part.content);
        } finally {
          await archive.close();
        }
      }),
      { numRuns: 100 },
    );
  });

  it('holds what compresses so well that readers would take it for a bomb', async () => {
    const zeros = Buffer.alloc(100 * 1024 * 1024);
    await write([{ name: 'zeros.json', content: zeros }]);
    const archive = await openArchive(path);
    assert((await archive.read('zeros.json')).equals(zeros));
    await archive.close();
  });

  it('may be larger than 4 GiB', async () => {
    const wide = 3 * 1024 ** 3;
    const small = Buffer.from('here');
    const facts = (name: string, sizeBytes: number, offset: number) => ({
      name: Buffer.from(name),
      method: 0,
      crc32: name === 'small' ? crc32(small) : 0,
      compressedBytes: sizeBytes,
      sizeBytes,
      offset,
    });
    // Their content is a hole in the file, and never read.
    const entries: ReturnType<typeof facts>[] = [];
    const file = await open(path, 'w');
    try {
      let offset = 0;
      for (const [name, sizeBytes] of [
        ['one', wide],
        ['two', wide],
        ['small', small.length],
      ] as const) {
        const entry = facts(name, sizeBytes, offset);
        entries.push(entry);
        const header = localHeader(entry);
        await file.write(header, 0, header.length, offset);
        offset += header.length + sizeBytes;
      }
      await file.write(small, 0, small.length, offset - small.length);
      const headers = Buffer.concat(entries.map(centralHeader));
      const end = endRecords({ entries: entries.length, bytes: headers.length, offset });
      await file.write(Buffer.concat([headers, end]), 0, headers.length + end.length, offset);
    } finally {
      await file.close();
    }
    const archive = await openArchive(path, { ...archiveLimits, entryBytesMax: 4 * 1024 ** 3 });
    assert.deepEqual(await archive.read('small'), small);
    await archive.close();
  });
});
