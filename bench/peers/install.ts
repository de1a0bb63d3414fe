/**
 * Brings what Holdfast is compared with: programs from Debian's packages, and npm packages of pinned versions in a folder of their own
 * (`build/bench-peers`), so that none of them becomes a dependency of the product. Says what is missing where it may not install.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

/** A program, and the Debian package that has it. */
const programs = {
  haproxy: 'haproxy',
  nginx: 'nginx',
  wrk: 'wrk',
  taskset: 'util-linux',
} as const;
export type Program = keyof typeof programs;

const npmPackages = {
  '@fastify/reply-from': '12.6.5',
  fastify: '5.12.8',
  'http-proxy': '1.18.1',
  pm2: '7.0.4',
  ws: '8.23.0',
};

/** Where the npm peers live: a package.json and its node_modules. */
export const peersFolder = join(import.meta.dirname, '../../build/bench-peers');

const folders = [...(process.env.PATH ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin'];
const { ensureServers } = createRequire(import.meta.url)('../../bin/servers.js') as {
  ensureServers(
    say: (line: string) => void,
    done: () => void,
    needed: readonly { package: string; program: string }[],
  ): void;
};

/** Full path of a program. @throws when it is not installed, saying how to get it */
export function pathOf(program: Program): string {
  const found = folders.map(folder => join(folder, program)).find(path => existsSync(path));
  if (!found) throw new Error(`${program} is missing: apt-get install ${programs[program]}`);
  return found;
}

/** Installs what is missing of the programs. @throws when one cannot be had */
export async function ensurePrograms(names: readonly Program[]): Promise<void> {
  const needed = names.map(program => ({ program, package: programs[program] }));
  await new Promise<void>(resolve => ensureServers(line => console.error(line), resolve, needed));
  for (const name of names) pathOf(name);
}

/** Installs the npm peers if they are not there in these versions. @throws when npm cannot get them */
export function ensureNpmPeers(): void {
  const manifest = `${JSON.stringify({ private: true, dependencies: npmPackages }, null, 2)}\n`;
  const file = join(peersFolder, 'package.json');
  const done = join(peersFolder, 'installed.json');
  if (existsSync(done) && readFileSync(done, 'utf8') === manifest) return;
  mkdirSync(peersFolder, { recursive: true });
  writeFileSync(file, manifest);
  console.error(`installing into build/bench-peers: ${Object.keys(npmPackages).join(', ')} ...`);
  try {
    execFileSync('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error'], {
      cwd: peersFolder,
      stdio: ['ignore', 2, 2],
      timeout: 300_000,
    });
  } catch (cause) {
    throw new Error(`the peers are missing: run "npm install" in ${peersFolder}`, { cause });
  }
  writeFileSync(done, manifest);
}
