/**
 * Packages on their way: the rate at which a node takes an upload until it is on disk and synced, raw and as a form; a package of 1,000 files
 * unpacked, with what the event loop and the memory of the node notice of it; and 20 MB to ten nodes. Peers: `node.ts`'s plain streaming server
 * with a digest, Info-ZIP's `unzip`, adm-zip, and a plain loop that inflates in parallel; none of them syncs, verifies or records anything.
 */
import AdmZip from 'adm-zip';
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { inflateRaw } from 'node:zlib';
import { createNodeClient } from '#client';
import type { Figure, Scenario } from '../measure.ts';
import { time } from '../measure.ts';
import { post, startUploadNode, type UploadNode } from '../uploads/processes.ts';
import { makePackage } from '../../tests/support/make-package.ts';

const run = promisify(execFile);
const inflate = promisify(inflateRaw);
const megabyte = 1_000_000;
const uploadBytes = 100 * megabyte;
const pushedBytes = 20 * megabyte;
const nodeCount = 10;
const boundary = 'holdfast-bench';

export const upload: Scenario = {
  name: 'upload',
  async run(runs) {
    const directory = await mkdtemp(join(tmpdir(), 'holdfast-bench-'));
    try {
      return [
        ...(await receiving(directory, runs)),
        ...(await unpacking(directory, runs)),
        ...(await pushing(directory, runs)),
      ];
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  },
};

/** One large file that cannot be compressed: a bundle with assets. */
function packageOf(sizeBytes: number, version: string): Buffer {
  const manifest = { packageName: 'bulk', packageVersion: version, kind: 'component', main: 'index.js' };
  return makePackage(manifest, {
    'content/index.js': 'export {}',
    'content/assets.bin': randomBytes(sizeBytes),
  });
}

async function receiving(directory: string, runs: number): Promise<Figure[]> {
  const node = await startUploadNode(join(directory, 'receiving'));
  const [ours, form, raw]: number[][] = [[], [], []];
  const head = `--${boundary}\r\ncontent-disposition: form-data; name="package"; filename="a.zip"\r\ncontent-type: application/zip\r\n\r\n`;
  const around = [Buffer.from(head), Buffer.from(`\r\n--${boundary}--\r\n`)] as const;
  const authorization = 'Bearer bench';
  const url = `${node.ours}/api/node/packages`;
  const perSecond = (ms: number) => uploadBytes / megabyte / (ms / 1_000);
  try {
    for (let index = 0; index < runs; index++) {
      const zip = packageOf(uploadBytes, `1.${index}.0`);
      raw!.push(
        perSecond(
          await time(async () => {
            const digest = await post(node.raw, {}, [zip]);
            if (digest !== digestOf(zip)) throw new Error('other bytes have arrived');
          }),
        ),
      );
      const type = { authorization, 'content-type': 'application/zip' };
      ours!.push(perSecond(await untilStaged(node, () => post(url, type, [zip]))));
      const formZip = packageOf(uploadBytes, `2.${index}.0`);
      const formType = { authorization, 'content-type': `multipart/form-data; boundary=${boundary}` };
      const parts = [around[0], formZip, around[1]];
      form!.push(perSecond(await untilStaged(node, () => post(url, formType, parts))));
    }
  } finally {
    await node.stop();
  }
  const peer = { name: 'plain streaming server', samples: raw! };
  const figure = (name: string, samples: number[], aim: string): Figure => ({
    name,
    unit: 'MB/s',
    samples,
    peer,
    aim,
  });
  return [
    figure('upload of 100 MB until it is on disk, application/zip', ours!, '≥ 0.8 of the peer'),
    figure('the same as a form', form!, 'as far as possible'),
  ];
}

/** Milliseconds until the body is on disk; the answer, which comes when the package is installed, is waited for besides. */
async function untilStaged(node: UploadNode, send: () => Promise<string>): Promise<number> {
  const staged = node.next('staged');
  let answer: Promise<string>;
  const ms = await time(async () => {
    answer = send();
    await Promise.race([staged, answer.then(() => staged)]);
  });
  await answer!;
  return ms;
}

async function unpacking(directory: string, runs: number): Promise<Figure[]> {
  const node = await startUploadNode(join(directory, 'unpacking'));
  const samples = {
    ours: [] as number[],
    unzip: [] as number[],
    admZip: [] as number[],
    plain: [] as number[],
  };
  const [delays, grown, cpu]: number[][] = [[], [], []];
  try {
    for (let index = 0; index < runs; index++) {
      const path = join(directory, `files-${index}.zip`);
      await writeFile(path, filesPackage(`1.${index}.0`));
      const installed = await node.install(path);
      samples.ours.push(installed.ms);
      cpu!.push(installed.cpuMs);
      delays!.push(installed.delayMs);
      grown!.push(Math.max(installed.grownBytes, 0) / 2 ** 20);
      const target = (name: string) => join(directory, `${name}-${index}`);
      samples.unzip.push(await time(() => run('unzip', ['-q', path, '-d', target('unzip')])));
      samples.admZip.push(await time(async () => new AdmZip(path).extractAllTo(target('adm-zip'))));
      samples.plain.push(await time(() => unzipInParallel(path, target('plain'))));
    }
  } finally {
    await node.stop();
  }
  const figure = (peer: string, peerSamples: number[]): Figure => ({
    name: 'package of 1,000 files, 20 MB: verified, unpacked, synced',
    unit: 'ms',
    samples: samples.ours,
    peer: { name: peer, samples: peerSamples },
    aim: '–',
  });
  return [
    figure('unzip', samples.unzip),
    figure('adm-zip', samples.admZip),
    figure('plain parallel inflate and write', samples.plain),
    { name: 'CPU for that', unit: 'ms', samples: cpu!, peer: null, aim: '–' },
    {
      name: 'longest pause of the event loop meanwhile',
      unit: 'ms',
      samples: delays!,
      peer: null,
      aim: '< 50',
    },
    { name: 'memory that the node grew by meanwhile', unit: 'MiB', samples: grown!, peer: null, aim: '< 64' },
  ];
}

/** Files that compress by about a quarter, as code does not but assets do. */
function filesPackage(version: string): Buffer {
  const files: Record<string, Buffer> = { 'content/index.js': Buffer.from('export {}') };
  for (let index = 0; index < 1_000; index++) {
    files[`content/${index % 20}/${index}.txt`] = Buffer.from(randomBytes(15_000).toString('base64'));
  }
  const manifest = { packageName: 'files', packageVersion: version, kind: 'component', main: 'index.js' };
  return makePackage(manifest, files);
}

/** What somebody would write who trusts the archive: the entries by adm-zip, inflated by node:zlib, 16 at once. */
async function unzipInParallel(path: string, target: string): Promise<void> {
  const entries = new AdmZip(path).getEntries().values();
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      for (const entry of entries) {
        const file = join(target, entry.entryName);
        await mkdir(dirname(file), { recursive: true });
        const packed = entry.getCompressedData();
        await writeFile(file, entry.header.method === 0 ? packed : await inflate(packed));
      }
    }),
  );
}

async function pushing(directory: string, runs: number): Promise<Figure[]> {
  const nodes: UploadNode[] = [];
  const [staged, installed, raw]: number[][] = [[], [], []];
  try {
    for (let index = 0; index < nodeCount; index++) {
      nodes.push(await startUploadNode(join(directory, `node-${index}`)));
    }
    const clients = nodes.map(({ ours }) => createNodeClient({ uri: ours, token: 'bench' }));
    for (let index = 0; index < runs; index++) {
      const path = join(directory, 'pushed.zip');
      await writeFile(path, packageOf(pushedBytes, `1.${index}.0`));
      raw!.push(
        await time(async () => {
          const zip = await readWhole(path);
          await Promise.all(nodes.map(node => post(node.raw, {}, [zip])));
        }),
      );
      const arrived = Promise.all(nodes.map(node => node.next('staged')));
      const startMs = performance.now();
      const zip = await readWhole(path);
      const uploads = clients.map(client => client.uploadPackage(zip, { makeCurrent: false }));
      await arrived;
      staged!.push(performance.now() - startMs);
      for (const { package: stored } of await Promise.all(uploads)) {
        if (stored.sha256 !== digestOf(zip)) throw new Error('other bytes have arrived');
      }
      installed!.push(performance.now() - startMs);
    }
  } finally {
    await Promise.all(nodes.map(node => node.stop()));
  }
  const peer = { name: 'plain streaming servers', samples: raw! };
  const figure = (name: string, samples: number[], aim: string): Figure => ({
    name,
    unit: 'ms',
    samples,
    peer,
    aim,
  });
  return [
    figure(`20 MB to ${nodeCount} nodes until it is on their disks`, staged!, '≤ 1.25 of the peer'),
    figure('the same until it is verified and unpacked on all', installed!, '–'),
  ];
}

async function readWhole(path: string): Promise<Buffer> {
  await using file = await open(path);
  return file.readFile();
}

function digestOf(zip: Buffer): string {
  return createHash('sha256').update(zip).digest('hex');
}
