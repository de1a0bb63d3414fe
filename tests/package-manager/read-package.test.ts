import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { deflateRawSync } from 'node:zlib';
import AdmZip from 'adm-zip';
import { HoldfastError, type ErrorCode } from '#core';
import { readPackage, type PackageLimits } from '#package-manager';
import { manifestText, packageZip } from '../fixtures/package-manager/packages.ts';
import { buildZip, extraField, uint64, type EndSpec, type EntrySpec } from '../support/zip-builder.ts';
import { skipLoudly } from '../support/skip-loudly.ts';

async function refusal(zip: Buffer, limits: Partial<PackageLimits> = {}): Promise<HoldfastError> {
  try {
    await readPackage(zip, { limits });
  } catch (error) {
    assert(error instanceof HoldfastError, String(error));
    assert.equal(
      typeof error.details.expected === 'string' || 'problems' in error.details,
      true,
      error.message,
    );
    return error;
  }
  return assert.fail('the package was accepted');
}

async function assertRefused(
  zip: Buffer,
  { code = 'HF_PACKAGE_INVALID', entry, message }: { code?: ErrorCode; entry?: string; message: RegExp },
  limits: Partial<PackageLimits> = {},
): Promise<void> {
  const error = await refusal(zip, limits);
  assert.equal(error.code, code, error.message);
  assert.match(error.message, message);
  assert.equal(error.details.entry, entry, error.message);
  if (code === 'HF_PACKAGE_TOO_LARGE') {
    assert.equal(typeof error.details.limit, 'number');
    assert(Number(error.details.actual) > Number(error.details.limit));
  }
}

describe('readPackage: names in the ZIP', () => {
  const cases: [title: string, name: string | Buffer, message: RegExp, entry?: string][] = [
    ['traversal at the start', '../evil.js', /climbs out/],
    ['traversal in the middle', 'content/../../evil.js', /climbs out/],
    ['traversal in a folder entry', 'content/../', /climbs out/],
    ['an absolute name', '/etc/cron.d/evil', /absolute/],
    ['a drive letter', 'C:/evil.js', /drive letter/],
    ['a drive letter without a slash', 'c:evil.js', /drive letter/],
    ['a backslash', 'content\\evil.js', /backslash/],
    ['traversal with backslashes', '..\\evil.js', /backslash/],
    ['a NUL', 'content/evil.js\0.txt', /NUL or control/],
    ['a newline', 'content/evil\n.js', /NUL or control/],
    ['an escape sequence', 'content/\u001b[31m.js', /NUL or control/],
    ['a C1 control character', 'content/\u0085.js', /NUL or control/],
    ['an empty segment', 'content//evil.js', /empty segment/],
    ['a "." segment', 'content/./evil.js', /"\." segment/],
    ['no name', '', /empty/],
    ['only a slash', '/', /absolute/],
    [
      'bytes that are not UTF-8',
      Buffer.from('content/\xff\xfe.js', 'latin1'),
      /UTF-8/,
      'content/\xff\xfe.js',
    ],
    [
      'overlong UTF-8 for ../',
      Buffer.from('\xc0\xae\xc0\xae/evil', 'latin1'),
      /UTF-8/,
      '\xc0\xae\xc0\xae/evil',
    ],
  ];
  for (const [title, name, message, entry] of cases) {
    it(`refuses ${title}`, async () => {
      await assertRefused(packageZip([{ name }]), { entry: entry ?? String(name), message });
    });
  }

  it('refuses a path, a depth and a segment over the limit', async () => {
    const long = `${'a/'.repeat(300)}b`;
    const error = await refusal(packageZip([{ name: long }]));
    assert.match(error.message, /path is too long/);
    assert.deepEqual([error.details.limit, error.details.actual], [512, 601]);
    await assertRefused(packageZip([{ name: 'a/'.repeat(40) + 'b' }]), {
      entry: 'a/'.repeat(40) + 'b',
      message: /too deep/,
    });
    const segment = await refusal(packageZip([{ name: 'x'.repeat(256) }]));
    assert.match(segment.message, /segment is too long/);
  });

  const clashes: [title: string, names: [string, string], message: RegExp][] = [
    ['the same name twice', ['content/a.js', 'content/a.js'], /twice/],
    ['the same folder twice', ['content/lib/', 'content/lib/'], /twice/],
    ['names that differ in case', ['content/Readme.js', 'content/readme.js'], /only in case/],
    ['folders that differ in case', ['content/Lib/a.js', 'content/lib/b.js'], /only in case/],
    ['names that differ in Unicode form', ['content/\u00e9.js', 'content/e\u0301.js'], /Unicode form/],
    [
      'names that are equal after case folding',
      ['content/stra\u00dfe.js', 'content/STRASSE.js'],
      /only in case/,
    ],
    ['a file where a folder is needed', ['content/a', 'content/a/b.js'], /a file and a folder/],
    ['a folder where a file is', ['content/a/b.js', 'content/a'], /a file and a folder/],
    ['a folder entry with the name of a file', ['content/a', 'content/a/'], /a file and a folder/],
  ];
  for (const [title, [first, second], message] of clashes) {
    it(`refuses ${title}`, async () => {
      await assertRefused(packageZip([{ name: first }, { name: second }]), { entry: second, message });
    });
  }

  it('refuses a second manifest in another case', async () => {
    const zip = packageZip([{ name: 'Manifest.json', content: manifestText() }]);
    await assertRefused(zip, { entry: 'Manifest.json', message: /only in case/ });
  });

  it('accepts folders, names in other scripts, and a folder named after its files', async () => {
    const { manifest } = await readPackage(
      packageZip([
        { name: 'content/käse/日本.js', content: 'x' },
        { name: 'content/käse/' },
        { name: 'docs/' },
      ]),
    );
    assert.equal(manifest.packageName, 'sample');
  });
});

describe('readPackage: what entries may be', () => {
  const types: [title: string, mode: number, message: RegExp][] = [
    ['a symbolic link', 0o120777, /symbolic link/],
    ['a block device', 0o060660, /block device/],
    ['a character device', 0o020660, /character device/],
    ['a named pipe', 0o010644, /named pipe/],
    ['a socket', 0o140644, /socket/],
    ['a folder by its mode only', 0o040755, /folder by its mode/],
    ['an unknown type', 0o170644, /unknown type/],
  ];
  for (const [title, mode, message] of types) {
    it(`refuses ${title}`, async () => {
      const zip = packageZip([{ name: 'content/odd', content: '/etc/passwd', mode }]);
      await assertRefused(zip, { entry: 'content/odd', message });
    });
  }

  const odd: [title: string, spec: Partial<EntrySpec>, message: RegExp][] = [
    ['an encrypted entry', { flags: 0x0001 }, /encrypted/],
    ['strong encryption', { flags: 0x0040 }, /encrypted/],
    ['masked headers', { flags: 0x2000 }, /encrypted/],
    ['patch data', { flags: 0x0020 }, /patch/],
    ['an unsupported method (bzip2)', { method: 12 }, /method 12/],
    ['a folder with content', { name: 'content/odd/', content: 'x' }, /folder with content/],
    [
      'a stored entry with two sizes',
      { method: 0, content: 'xy', central: { compressedBytes: 1 } },
      /sizes differ/,
    ],
    ['another disk', { central: { disk: 3 } }, /another disk/],
  ];
  for (const [title, spec, message] of odd) {
    it(`refuses ${title}`, async () => {
      const name = spec.name ?? 'content/odd';
      await assertRefused(packageZip([{ name, ...spec }]), { entry: String(name), message });
    });
  }
});

describe('readPackage: headers that disagree', () => {
  const content = 'some content that is long enough to be cut';
  const lies: [title: string, spec: Partial<EntrySpec>, message: RegExp][] = [
    ['another local name', { local: { name: Buffer.from('../../../evil') } }, /disagree about its name/],
    ['another local method', { local: { method: 0 } }, /method/],
    ['another local size', { local: { sizeBytes: 1 } }, /size/],
    ['another local compressed size', { local: { compressedBytes: 1 } }, /compressed size/],
    ['another local checksum', { local: { crc32: 1 } }, /checksum/],
    ['local encryption only', { local: { flags: 0x0801 } }, /flags/],
    ['a local descriptor flag only', { local: { flags: 0x0808 } }, /flags/],
    ['a descriptor flag without descriptor', { flags: 0x0808, local: { crc32: 0 } }, /descriptor is missing/],
    [
      'a compressed size that reaches into the next entry',
      { central: { compressedBytes: 60 } },
      /disagree|overlaps/,
    ],
    [
      'another name in the Unicode path extra field',
      { central: { extra: extraField(0x7075, Buffer.from('\x01\0\0\0\0../evil')) } },
      /Unicode path/,
    ],
    [
      'malformed extra fields',
      { central: { extra: Buffer.from([1, 0, 99, 0]) } },
      /extra fields are malformed/,
    ],
    ['saturated sizes without ZIP64', { central: { sizeBytes: 0xffff_ffff } }, /ZIP64 field that is missing/],
    [
      'ZIP64 values that nothing calls for',
      { central: { extra: extraField(1, uint64(7, 7)) } },
      /does not call for/,
    ],
    [
      'an impossible ZIP64 size',
      { central: { sizeBytes: 0xffff_ffff, extra: extraField(1, Buffer.alloc(8, 0xff)) } },
      /impossible size/,
    ],
  ];
  for (const [title, spec, message] of lies) {
    it(`refuses ${title}`, async () => {
      await assertRefused(packageZip([{ name: 'content/a.js', content, ...spec }]), {
        entry: 'content/a.js',
        message,
      });
    });
  }

  it('refuses two entries that share one body', async () => {
    const headerOffset = packageZip().indexOf('PK\x03\x04', 1, 'latin1'); // that of content/index.js
    await assertRefused(packageZip([{ name: 'content/a.js', content, central: { headerOffset } }]), {
      entry: 'content/index.js',
      message: /overlaps/,
    });
  });

  it('refuses a local header in the middle of another entry', async () => {
    await assertRefused(packageZip([{ name: 'content/a.js', content, central: { headerOffset: 5 } }]), {
      entry: 'manifest.json',
      message: /overlaps/,
    });
  });

  it('refuses a data descriptor that says something else', async () => {
    const zip = packageZip([{ name: 'content/a.js', content, descriptor: 'signed', central: { crc32: 5 } }]);
    await assertRefused(zip, { entry: 'content/a.js', message: /data descriptor/ });
  });

  it('refuses bytes between entries', async () => {
    const zip = packageZip([{ name: 'content/a.js', content, gapAfter: Buffer.from('hidden') }]);
    await assertRefused(zip, { entry: 'content/a.js', message: /6 bytes beside it belong to no entry/ });
  });

  for (const descriptor of ['signed', 'unsigned', 'signed64', 'unsigned64'] as const) {
    it(`accepts a data descriptor (${descriptor})`, async () => {
      await readPackage(packageZip([{ name: 'content/a.js', content, descriptor }]));
    });
  }

  it('accepts ZIP64 fields that are needed and agree', async () => {
    const data = deflateRawSync(Buffer.from(content));
    const wide = {
      sizeBytes: 0xffff_ffff,
      compressedBytes: 0xffff_ffff,
      extra: extraField(1, uint64(content.length, data.length)),
    };
    const zip = packageZip([{ name: 'content/a.js', content, local: wide, central: wide }], {
      end: { zip64: {}, entries: 0xffff, directoryBytes: 0xffff_ffff, directoryOffset: 0xffff_ffff },
    });
    await readPackage(zip);
  });
});

describe('readPackage: the archive as a whole', () => {
  const ends: [title: string, end: EndSpec, message: RegExp][] = [
    ['bytes after the end', { after: Buffer.from('more') }, /4 bytes after its end/],
    ['bytes behind the directory', { afterDirectory: Buffer.from('more') }, /4 bytes before its content/],
    ['fewer entries than headers', { entries: 1 }, /beyond the declared entries/],
    ['more entries than headers', { entries: 3 }, /no central directory header/],
    ['two entry counts', { entriesOnDisk: 1 }, /several disks/],
    ['a directory that reaches past the end record', { directoryBytes: 9999 }, /damaged or was cut/],
    ['a directory elsewhere', { directoryOffset: 0 }, /belong to no entry/],
    [
      'a second end record in the comment',
      { comment: Buffer.from('PK\x05\x06' + '\0'.repeat(18)) },
      /no entry|bytes/,
    ],
    ['a ZIP64 record with another entry count', { zip64: { entries: 1n } }, /contradicts/],
    ['a ZIP64 record with another offset', { zip64: { directoryOffset: 3n } }, /contradicts/],
    ['a ZIP64 record that is elsewhere', { zip64: { recordOffset: 7n } }, /contradicts/],
    ['a ZIP64 record beyond all', { zip64: { recordOffset: 0xffff_ffff_ffff_ffffn } }, /impossible size/],
  ];
  for (const [title, end, message] of ends) {
    it(`refuses ${title}`, async () => {
      await assertRefused(packageZip([], { end }), { message });
    });
  }

  it('refuses bytes before the first entry, whether the offsets count them or not', async () => {
    const counted = packageZip([], { end: { before: Buffer.from('#!/bin/sh\n') } });
    await assertRefused(counted, {
      entry: 'manifest.json',
      message: /10 bytes beside it belong to no entry/,
    });
    const uncounted = Buffer.concat([Buffer.from('#!/bin/sh\n'), packageZip()]);
    await assertRefused(uncounted, { message: /10 bytes before its content/ });
  });

  it('refuses what is no ZIP, and an empty one', async () => {
    await assertRefused(Buffer.from('x'.repeat(100)), { message: /not a ZIP/ });
    await assertRefused(Buffer.alloc(0), { message: /only 0 bytes/ });
    await assertRefused(buildZip([]), { entry: 'manifest.json', message: /no manifest/ });
  });

  it('refuses a ZIP that was cut off, wherever', async () => {
    const zip = packageZip([{ name: 'content/a.js', content: 'abc'.repeat(50) }]);
    for (let length = 0; length < zip.length; length += 7) {
      assert.equal((await refusal(zip.subarray(0, length))).code, 'HF_PACKAGE_INVALID');
    }
    assert.match((await refusal(zip.subarray(0, -30))).message, /cut off/);
  });

  it('accepts a comment', async () => {
    await readPackage(packageZip([], { end: { comment: Buffer.from('built on a Monday') } }));
  });
});

describe('readPackage: content', () => {
  const name = 'content/a.js';

  it('refuses content that does not match its CRC-32', async () => {
    const zip = packageZip([{ name, content: 'abc', method: 0, data: Buffer.from('abd') }]);
    await assertRefused(zip, { entry: name, message: /CRC-32/ });
  });

  it('refuses damaged and incomplete compressed data', async () => {
    await assertRefused(packageZip([{ name, content: 'abc', data: Buffer.from('\xff\xff\xff', 'latin1') }]), {
      entry: name,
      message: /compressed data is damaged/,
    });
    const half = deflateRawSync(Buffer.from('abc'.repeat(9))).subarray(0, 4);
    await assertRefused(packageZip([{ name, content: 'abc', data: half }]), {
      entry: name,
      message: /damaged/,
    });
  });

  it('refuses bytes behind the compressed data', async () => {
    const data = Buffer.concat([deflateRawSync(Buffer.from('abc')), Buffer.from('hidden')]);
    await assertRefused(packageZip([{ name, content: 'abc', data }]), {
      entry: name,
      message: /6 bytes follow/,
    });
  });

  it('refuses content that is shorter than declared', async () => {
    const zip = packageZip([{ name, content: 'abcdef', data: deflateRawSync(Buffer.from('abc')) }]);
    await assertRefused(zip, { entry: name, message: /unpacks to 3 bytes but declares 6/ });
  });

  it('stops at the first byte beyond the declared size', async () => {
    const zip = packageZip([{ name, content: 'abc', data: deflateRawSync(Buffer.alloc(50 * 2 ** 20)) }]);
    const error = await refusal(zip);
    assert.equal(error.code, 'HF_PACKAGE_TOO_LARGE');
    assert.equal(error.details.entry, name);
    assert(Number(error.details.actual) <= 64 * 1024, 'one chunk was enough');
  });
});

describe('readPackage: limits', () => {
  const code = 'HF_PACKAGE_TOO_LARGE';
  const name = 'content/a.bin';

  it('refuses an archive over the limit', async () => {
    await assertRefused(packageZip(), { code, message: /too large/ }, { archiveBytesMax: 100 });
  });

  it('refuses an entry over the limit', async () => {
    const zip = packageZip([{ name, content: Buffer.alloc(1000) }]);
    await assertRefused(zip, { code, entry: name, message: /file is too large/ }, { entryBytesMax: 999 });
  });

  it('refuses a total over the limit', async () => {
    const zip = packageZip([
      { name, content: Buffer.alloc(1000) },
      { name: 'content/b.bin', content: Buffer.alloc(1000) },
    ]);
    await assertRefused(zip, { code, message: /together/ }, { totalBytesMax: 1999 });
  });

  it('refuses a ratio over the limit, of an entry and of all together', async () => {
    const content = Buffer.alloc(300_000);
    await assertRefused(
      packageZip([{ name, content }]),
      { code, entry: name, message: /suspiciously/ },
      { ratioFloorBytes: 200_000 },
    );
    const many = Array.from({ length: 8 }, (_, index) => ({ name: `content/${index}.bin`, content }));
    await assertRefused(packageZip(many), { code, message: /suspiciously/ }, { ratioFloorBytes: 400_000 });
  });

  it('lets tiny files compress as well as they like', async () => {
    await readPackage(packageZip([{ name, content: Buffer.alloc(500_000) }]));
  });

  it('refuses too many entries, declared or implied by paths', async () => {
    const many = Array.from({ length: 20 }, (_, index) => ({ name: `content/${index}` }));
    await assertRefused(packageZip(many), { code, message: /too many/ }, { entriesMax: 10 });
    const deep = [{ name: 'a/b/c/d/e/f/g/h/i/j/k' }];
    await assertRefused(packageZip(deep), { code, message: /too many/ }, { entriesMax: 10 });
  });

  it('refuses a central directory that is mostly padding', async () => {
    const padding = extraField(0x9999, Buffer.alloc(60_000));
    const zip = packageZip([
      { name, central: { extra: padding } },
      { name: 'b', central: { extra: padding } },
    ]);
    await assertRefused(zip, { code, message: /central directory is too large/ }, { entriesMax: 10 });
  });

  it('refuses a bomb by its declared sizes, without inflating it', async () => {
    const bomb = deflateRawSync(Buffer.alloc(100 * 2 ** 20));
    const zip = packageZip([{ name, data: bomb, central: { sizeBytes: 4_000_000_000 } }]);
    await assertRefused(zip, { code, entry: name, message: /file is too large/ });
  });
});

describe('readPackage: manifest', () => {
  const index: EntrySpec = { name: 'content/index.js', content: '' };

  it('refuses a ZIP without one, and says when it lies one folder down', async () => {
    await assertRefused(buildZip([index]), { entry: 'manifest.json', message: /no manifest/ });
    await assertRefused(buildZip([{ name: 'sample/manifest.json', content: manifestText() }]), {
      entry: 'sample/manifest.json',
      message: /not at the root.*zip the folder's content/,
    });
  });

  it('refuses one that is over its limit', async () => {
    const content = manifestText({ description: 'x'.repeat(1.5 * 2 ** 20) });
    const zip = buildZip([{ name: 'manifest.json', method: 0, content }, index]);
    await assertRefused(zip, {
      code: 'HF_PACKAGE_TOO_LARGE',
      entry: 'manifest.json',
      message: /manifest is too large/,
    });
  });

  const wrong: [title: string, content: string, message: RegExp][] = [
    ['that is not JSON', '{', /JSON/],
    ['that is not an object', '[]', /expected object/],
    ['without a name', manifestText({ packageName: undefined }), /\$\.packageName/],
    ['with a hostile name', manifestText({ packageName: '../evil' }), /\$\.packageName/],
    ['with a hostile version', manifestText({ packageVersion: '1.0.0/../..' }), /\$\.packageVersion/],
    [
      'with a version that semver does not know',
      manifestText({ packageVersion: '01.0.0' }),
      /\$\.packageVersion/,
    ],
    ['with a name that the store needs (staging)', manifestText({ packageName: 'staging' }), /reserved/],
    ['with a name that the store needs (archives)', manifestText({ packageName: 'archives' }), /reserved/],
    [
      'with a name that the store needs (catalog)',
      manifestText({ packageName: 'catalog.json.x.tmp' }),
      /reserved/,
    ],
    ['with an oversized field', manifestText({ description: 'x'.repeat(5000) }), /\$\.description/],
    ['with a main outside the package', manifestText({ main: '../../evil.js' }), /\$\.main/],
    ['with a range that is none', manifestText({ engines: { node: 'latest please' } }), /\$\.engines\.node/],
    ['that asks for another Node', manifestText({ engines: { node: '>=99' } }), /asks for Node >=99/],
  ];
  for (const [title, content, message] of wrong) {
    it(`refuses one ${title}`, async () => {
      const zip = buildZip([{ name: 'manifest.json', content }, index]);
      await assertRefused(zip, { entry: 'manifest.json', message });
    });
  }

  it('refuses one whose main is not in the ZIP, and names what is', async () => {
    const content = manifestText({ main: 'start.js' });
    await assertRefused(buildZip([{ name: 'manifest.json', content }, index]), {
      entry: 'content/start.js',
      message: /it has content\/index\.js/,
    });
  });

  it('returns it with its dependencies, the older spellings normalised', async () => {
    const zip = buildZip([
      {
        name: 'manifest.json',
        content: JSON.stringify({
          name: 'older',
          version: '2.0.0',
          componentType: 'MessagePublisher',
          contentRoot: '.',
          main: './lib/main.js',
          dependencies: { 'some-lib': '>=4' },
        }),
      },
      { name: 'lib/main.js' },
    ]);
    const { manifest, sizeBytes, sha256 } = await readPackage(zip);
    assert.deepEqual(
      [manifest.packageName, manifest.packageVersion, manifest.kind, manifest.dependencies],
      ['older', '2.0.0', 'publisher', { 'some-lib': '>=4' }],
    );
    assert.equal(sizeBytes, zip.length);
    assert.match(sha256, /^[0-9a-f]{64}$/);
  });
});

describe('readPackage: sources and writers', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdfast-test-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('reads a buffer, a file and a stream alike, and leaves nothing behind', async () => {
    const zip = packageZip();
    const path = join(folder, 'package.zip');
    await writeFile(path, zip);
    const facts = await readPackage(zip);
    assert.deepEqual(await readPackage({ path }), facts);
    const before = (await readdir(tmpdir())).filter(name => name.startsWith('holdfast-package-'));
    assert.deepEqual(await readPackage(Readable.from([zip.subarray(0, 10), zip.subarray(10)])), facts);
    const after = (await readdir(tmpdir())).filter(name => name.startsWith('holdfast-package-'));
    assert.deepEqual(
      after.filter(name => !before.includes(name)),
      [],
    );
  });

  it('accepts what adm-zip writes', async () => {
    const zip = new AdmZip();
    zip.addFile('manifest.json', Buffer.from(manifestText()));
    zip.addFile('content/', Buffer.alloc(0));
    zip.addFile('content/index.js', Buffer.from('export default 1;'));
    zip.addFile('content/empty.txt', Buffer.alloc(0));
    await readPackage(zip.toBuffer());
  });

  it('accepts what other writers write: Python, seekable and streamed', async function () {
    const script = `
import sys, zipfile
class Pipe:
    def __init__(self, file): self.file = file
    def write(self, data): return self.file.write(data)
    def flush(self): self.file.flush()
for path, wrap in ((sys.argv[1], lambda f: f), (sys.argv[2], Pipe)):
    with open(path, 'wb') as file:
        with zipfile.ZipFile(wrap(file), 'w', zipfile.ZIP_DEFLATED) as archive:
            archive.write(sys.argv[3], 'manifest.json')
            archive.writestr('content/index.js', 'export default 1;')
`;
    const manifest = join(folder, 'manifest.json');
    await writeFile(manifest, manifestText());
    const paths = [join(folder, 'a.zip'), join(folder, 'b.zip')];
    try {
      await promisify(execFile)('python3', ['-c', script, ...paths, manifest]);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') skipLoudly(this, 'there is no python3');
      throw error;
    }
    for (const path of paths) await readPackage({ path });
  });

  it('accepts what Info-ZIP writes, to a file and to a pipe', async function () {
    await mkdir(join(folder, 'package/content'), { recursive: true });
    await writeFile(join(folder, 'package/manifest.json'), manifestText());
    await writeFile(join(folder, 'package/content/index.js'), 'export default 1;'.repeat(20));
    const run = promisify(execFile);
    const cwd = join(folder, 'package');
    try {
      await run(
        'sh',
        ['-c', 'command -v zip >/dev/null || exit 127; zip -qr ../a.zip . && zip -qr - . | cat > ../b.zip'],
        { cwd },
      );
    } catch (error) {
      if ((error as { code?: unknown }).code === 127) skipLoudly(this, 'there is no zip (Info-ZIP)');
      throw error;
    }
    for (const name of ['a.zip', 'b.zip']) await readPackage({ path: join(folder, name) });
  });
});
