/** What a package's folder holds before it is packed: manifest, entry module, files that travel along, dependencies. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { HoldfastError, parseManifest, type Manifest } from '#core';

export interface PackageFolder {
  /** Absolute. */
  directory: string;
  manifest: Manifest;
  /** The manifest as it is written, byte for byte. */
  manifestText: string;
  /** Absolute path of the module that becomes `manifest.main`. */
  entry: string;
  /** Files that go into the ZIP as they are, by their name there, sorted. */
  files: { name: string; path: string }[];
}

/**
 * @throws HoldfastError HF_PACKAGE_INVALID when something is missing or does not fit; the message says how to mend it
 */
export async function readPackageFolder(directory: string): Promise<PackageFolder> {
  const manifestPath = join(directory, 'manifest.json');
  const manifestText = await readFile(manifestPath, 'utf8').catch((cause: unknown) => {
    throw new HoldfastError(
      'HF_PACKAGE_INVALID',
      `there is no ${manifestPath}; make a package with: holdfast new component <name>`,
      { cause },
    );
  });
  const manifest = parseManifest(manifestText);
  const bundleName = bundleNameOf(manifest);
  if (!/\.m?js$/.test(manifest.main)) {
    throw new HoldfastError(
      'HF_PACKAGE_INVALID',
      `${manifestPath}: main is "${manifest.main}", expected a name like "index.js" (the ES module that is made)`,
    );
  }
  const [entry, files] = await Promise.all([
    findEntry(directory, manifest),
    findFiles(directory, manifest),
    checkDependencies(directory),
  ]);
  const clash = files.find(file => file.name === bundleName);
  if (clash) {
    throw new HoldfastError(
      'HF_PACKAGE_INVALID',
      `${clash.path} has the name of the bundle that is made (${bundleName}); rename it or change main in ${manifestPath}`,
    );
  }
  return { directory, manifest, manifestText, entry, files };
}

/** Name of the bundle in the ZIP. */
export function bundleNameOf(manifest: Manifest): string {
  return join(manifest.contentRoot, manifest.main);
}

/** Where the entry may lie, best first. */
export function entryCandidates(main: string): string[] {
  const usual = ['main.ts', 'index.ts', 'src/main.ts', 'src/index.ts', 'main.js', 'index.js', 'src/index.js'];
  const named =
    main === 'index.js' ? [] : [main.replace(/js$/, 'ts'), `src/${main.replace(/js$/, 'ts')}`, main];
  return [...new Set([...named, ...usual])];
}

async function findEntry(directory: string, manifest: Manifest): Promise<string> {
  const candidates = entryCandidates(manifest.main);
  for (const candidate of candidates) {
    if (await isFile(join(directory, candidate))) return join(directory, candidate);
  }
  throw new HoldfastError(
    'HF_PACKAGE_INVALID',
    `${directory} has no entry module; expected one of ${candidates.join(', ')}`,
  );
}

/** Everything below `content/`, and the README. */
async function findFiles(directory: string, manifest: Manifest): Promise<PackageFolder['files']> {
  const content = join(directory, 'content');
  const names = (await isDirectory(content))
    ? await readdir(content, { recursive: true, withFileTypes: true })
    : [];
  const assets = names
    .filter(entry => !entry.isDirectory())
    .map(entry => {
      const path = join(entry.parentPath, entry.name);
      if (!entry.isFile()) {
        throw new HoldfastError(
          'HF_PACKAGE_INVALID',
          `${path} is neither a file nor a folder; packages hold files only`,
        );
      }
      return { name: join(manifest.contentRoot, relative(content, path)), path };
    });
  const readme = (await readdir(directory)).find(name => /^readme(?:\.md|\.txt)?$/i.test(name));
  if (readme) assets.push({ name: readme, path: join(directory, readme) });
  return assets.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Dependencies of the folder's own package.json must be installed, or the bundle cannot be made. */
async function checkDependencies(directory: string): Promise<void> {
  const path = join(directory, 'package.json');
  if (!(await isFile(path))) return;
  let dependencies: Record<string, unknown>;
  try {
    const document = JSON.parse(await readFile(path, 'utf8')) as { dependencies?: Record<string, unknown> };
    dependencies = document.dependencies ?? {};
  } catch (cause) {
    throw new HoldfastError('HF_PACKAGE_INVALID', `${path} is not valid JSON: ${(cause as Error).message}`, {
      cause,
    });
  }
  const missing: string[] = [];
  for (const name of Object.keys(dependencies)) {
    if (!(await isInstalled(directory, name))) missing.push(name);
  }
  if (missing.length > 0) {
    throw new HoldfastError(
      'HF_PACKAGE_INVALID',
      `dependencies of ${path} are not installed: ${missing.join(', ')}; run: npm install --prefix ${directory}`,
      { details: { missing } },
    );
  }
}

/** Node looks into every `node_modules` from the folder upward. */
async function isInstalled(directory: string, name: string): Promise<boolean> {
  for (let folder = directory; ; folder = dirname(folder)) {
    if (await isFile(join(folder, 'node_modules', name, 'package.json'))) return true;
    if (folder === dirname(folder)) return false;
  }
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isFile() ?? false;
}

async function isDirectory(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isDirectory() ?? false;
}
