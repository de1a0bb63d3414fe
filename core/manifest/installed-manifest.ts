/**
 * What every reader of a manifest does, and all that a host does: it gets only packages that were checked when they were installed, and whose
 * bytes have not changed since. The check itself (`manifest.ts`) needs the checker of schemas, which hosts do without. Pure.
 */
import { HoldfastError } from '../errors/holdfast-error.ts';
import { LIMITS } from '../limits.ts';
import { describeProblem, isDeeperThan, type Problem } from '../problems.ts';
import type { Manifest, ManifestDocument } from './schema.ts';

export const tooDeep = `nothing deeper than ${LIMITS.documentDepthMax} levels`;

/** The manifest of an installed package. @throws HoldfastError HF_PACKAGE_INVALID with `details.problems` */
export function parseInstalledManifest(text: string): Manifest {
  const document = readManifest(text);
  const problems = pathProblems(document);
  if (problems.length > 0) throw invalidManifest(problems);
  return withDefaults(document as ManifestDocument);
}

/** JSON, and the present spellings. @throws HoldfastError HF_PACKAGE_INVALID */
export function readManifest(text: string): Record<string, unknown> {
  let document: unknown;
  try {
    document = JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (cause) {
    throw invalidManifest([{ path: '$', expected: `JSON (${(cause as Error).message})` }]);
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw invalidManifest([{ path: '$', value: document, expected: 'object' }]);
  }
  if (isDeeperThan(document, LIMITS.documentDepthMax)) {
    throw invalidManifest([{ path: '$', expected: tooDeep }]);
  }
  return normalise(document as Record<string, unknown>);
}

export function withDefaults(manifest: ManifestDocument): Manifest {
  return {
    ...manifest,
    contentRoot: manifest.contentRoot ?? 'content',
    export: manifest.export ?? 'default',
    defaultConfiguration: manifest.defaultConfiguration ?? {},
  };
}

/** TDIE's spellings: `name`, `version`, `componentType`, `extensionProperties`. The present names win. */
function normalise(document: Record<string, unknown>): Record<string, unknown> {
  const { name, version, componentType, extensionProperties, ...rest } = document;
  const normalised: Record<string, unknown> = { ...rest };
  if (name !== undefined) normalised.packageName ??= name;
  if (version !== undefined) normalised.packageVersion ??= version;
  if (componentType !== undefined)
    normalised.kind ??= typeof componentType === 'string' ? kindOf(componentType) : componentType;
  if (extensionProperties !== undefined) normalised.defaultConfiguration ??= extensionProperties;
  return normalised;
}

function kindOf(componentType: string): string {
  const kinds: Record<string, string> = { componenthost: 'host', messagepublisher: 'publisher' };
  return kinds[componentType.toLowerCase()] ?? componentType.toLowerCase();
}

/** `contentRoot` and `main` must stay inside the package. */
export function pathProblems(document: Record<string, unknown>): Problem[] {
  return (['contentRoot', 'main'] as const).flatMap(field => {
    const value = document[field];
    if (typeof value !== 'string') return [];
    const escapes =
      value.startsWith('/') ||
      value.includes('\\') ||
      value.includes('\0') ||
      /^[A-Za-z]:/.test(value) ||
      value.split('/').includes('..');
    return escapes
      ? [{ path: `$.${field}`, value, expected: 'a relative path inside the package, with forward slashes' }]
      : [];
  });
}

export function invalidManifest(problems: Problem[]): HoldfastError {
  return new HoldfastError(
    'HF_PACKAGE_INVALID',
    `manifest.json: ${problems.map(describeProblem).join('; ')}`,
    {
      details: { entry: 'manifest.json', problems },
    },
  );
}
