/**
 * Loads an installed package: manifest, settings, module, export. Nothing of the package runs beyond its module's top
 * level; what it exports is called at the start. Every failure says which file and what was expected.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  deepFreeze,
  HoldfastError,
  parseInstalledManifest,
  type CreateComponent,
  type CreatePublisher,
  type InstalledPackage,
  type Manifest,
  type Settings,
} from '#core';

export interface LoadedPackage<Create> {
  readonly installed: InstalledPackage;
  readonly manifest: Manifest;
  /** Defaults filled in, checked, frozen. */
  readonly settings: Settings;
  readonly create: Create;
}

export type LoadedComponent = LoadedPackage<CreateComponent>;
export type LoadedPublisher = LoadedPackage<CreatePublisher>;

/**
 * `checked`: the settings are complete and right, and need not be checked here.
 * @throws HoldfastError HF_PACKAGE_INVALID (wrong kind or manifest), HF_SETTINGS_INVALID, HF_START_FAILED (the module
 * cannot be imported or lacks the export)
 */
export function loadComponent(
  installed: InstalledPackage,
  settings: Settings,
  checked = false,
): Promise<LoadedComponent> {
  return loadPackage<CreateComponent>(installed, 'component', { settings, checked });
}

/** As `loadComponent`, for a package of kind `publisher`. */
export function loadPublisher(
  installed: InstalledPackage,
  settings: Settings,
  checked = false,
): Promise<LoadedPublisher> {
  return loadPackage<CreatePublisher>(installed, 'publisher', { settings, checked });
}

async function loadPackage<Create>(
  installed: InstalledPackage,
  kind: Manifest['kind'],
  { settings, checked }: { settings: Settings; checked: boolean },
): Promise<LoadedPackage<Create>> {
  const manifest = await readManifest(installed);
  if (manifest.kind !== kind) {
    throw new HoldfastError(
      'HF_PACKAGE_INVALID',
      `${nameOf(installed)} is a package of kind ${manifest.kind}; expected kind ${kind}`,
      { details: { entry: 'manifest.json', kind: manifest.kind, expected: kind } },
    );
  }
  const complete = checked ? deepFreeze(settings) : await checkSettings(manifest, settings);
  const create = (await importExport(installed, manifest)) as Create;
  return { installed, manifest, settings: complete, create };
}

/** Brings in the checker of schemas, which a host that is configured by its agent does without. */
async function checkSettings(manifest: Manifest, settings: Settings): Promise<Settings> {
  const { configure } = await import('./settings-check.ts');
  return configure(manifest, settings, '$', { installed: true }) as Settings;
}

async function readManifest(installed: InstalledPackage): Promise<Manifest> {
  const path = join(installed.directory, 'manifest.json');
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw failed(installed, `cannot read ${path}: ${textOf(cause)}`, cause);
  }
  const manifest = parseInstalledManifest(text);
  const { packageName, packageVersion } = manifest;
  if (packageName !== installed.packageName || packageVersion !== installed.packageVersion) {
    throw new HoldfastError(
      'HF_PACKAGE_CORRUPT',
      `${path} names ${packageName} ${packageVersion}; expected ${nameOf(installed)}`,
    );
  }
  return manifest;
}

async function importExport(installed: InstalledPackage, manifest: Manifest): Promise<unknown> {
  const path = join(installed.directory, manifest.contentRoot, manifest.main);
  let module: Record<string, unknown>;
  try {
    module = (await import(pathToFileURL(path).href)) as Record<string, unknown>;
  } catch (cause) {
    throw failed(installed, `its main module ${path} cannot be loaded: ${textOf(cause)}`, cause);
  }
  const exported = module[manifest.export];
  if (typeof exported !== 'function') {
    const found = Object.keys(module).join(', ') || 'nothing';
    const problem =
      exported === undefined
        ? `has no export "${manifest.export}" (it exports: ${found})`
        : `exports "${manifest.export}" as ${typeof exported}; expected a function`;
    throw failed(installed, `its main module ${path} ${problem}`);
  }
  return exported;
}

function failed(installed: InstalledPackage, problem: string, cause?: unknown): HoldfastError {
  return new HoldfastError('HF_START_FAILED', `${nameOf(installed)}: ${problem}`, {
    details: { packageName: installed.packageName, phase: 'load', cause: problem },
    ...(cause === undefined ? {} : { cause }),
  });
}

function nameOf({ packageName, packageVersion }: InstalledPackage): string {
  return `${packageName} ${packageVersion}`;
}

function textOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
