/** Reads a package's manifest: older spellings normalised, checked, defaults filled in. Pure. */
import { HoldfastError } from '../errors/holdfast-error.ts';
import { LIMITS } from '../limits.ts';
import { compileSchema, describeProblem, isDeeperThan, ownSchema, type Problem } from '../validation.ts';
import manifestSchema from './manifest.schema.json' with { type: 'json' };
import type { Manifest, ManifestDocument } from './schema.ts';

const validate = ownSchema(manifestSchema);

/** How far a package is to be trusted. */
export interface Trust {
  /**
   * It was checked when it was installed, and its bytes have not changed since: the manifest is not checked again, and its
   * configurationSchema used without a limit of time.
   */
  installed?: boolean;
}

const tooDeep = `nothing deeper than ${LIMITS.documentDepthMax} levels`;

/** @throws HoldfastError HF_PACKAGE_INVALID with `details.problems` */
export function parseManifest(text: string, { installed = false }: Trust = {}): Manifest {
  let document: unknown;
  try {
    document = JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (cause) {
    throw invalid([{ path: '$', expected: `JSON (${(cause as Error).message})` }]);
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw invalid([{ path: '$', value: document, expected: 'object' }]);
  }
  if (isDeeperThan(document, LIMITS.documentDepthMax)) throw invalid([{ path: '$', expected: tooDeep }]);
  const normalised = normalise(document as Record<string, unknown>);
  const problems = [...(installed ? [] : validate(normalised)), ...checkPaths(normalised)];
  if (problems.length > 0) throw invalid(problems);
  const manifest = normalised as ManifestDocument;
  if (!installed) checkConfigurationSchema(manifest);
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
function checkPaths(document: Record<string, unknown>): Problem[] {
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

function checkConfigurationSchema(manifest: ManifestDocument): void {
  if (!manifest.configurationSchema) return;
  let problems: Problem[];
  try {
    const timeMsMax = LIMITS.schemaCheckMsMax;
    const validateDefaults = compileSchema(manifest.configurationSchema, { partial: true, timeMsMax });
    // What the defaults leave out an instance may bring; what they hold must be right.
    problems = validateDefaults(manifest.defaultConfiguration ?? {});
  } catch (cause) {
    throw invalid([
      {
        path: '$.configurationSchema',
        expected: `a JSON Schema of draft-07 (${(cause as Error).message})`,
      },
    ]);
  }
  if (problems.length > 0) {
    throw invalid(
      problems.map(problem => ({ ...problem, path: `$.defaultConfiguration${problem.path.slice(1)}` })),
    );
  }
}

function invalid(problems: Problem[]): HoldfastError {
  return new HoldfastError(
    'HF_PACKAGE_INVALID',
    `manifest.json: ${problems.map(describeProblem).join('; ')}`,
    {
      details: { entry: 'manifest.json', problems },
    },
  );
}

/**
 * The settings of an instance: the package's `defaultConfiguration` overlaid key by key, checked against its
 * `configurationSchema`, frozen. `at` is the JSON path prefix used in problems.
 * @throws HoldfastError HF_SETTINGS_INVALID
 */
export function configure(
  manifest: Pick<Manifest, 'packageName' | 'defaultConfiguration' | 'configurationSchema'>,
  settings: Readonly<Record<string, unknown>>,
  at = '$',
  { installed = false }: Trust = {},
): Readonly<Record<string, unknown>> {
  const { packageName, defaultConfiguration, configurationSchema } = manifest;
  const refuse = (problems: Problem[]) =>
    new HoldfastError(
      'HF_SETTINGS_INVALID',
      `settings for ${packageName}: ${problems.map(describeProblem).join('; ')}`,
      { details: { packageName, problems } },
    );
  if (isDeeperThan(settings, LIMITS.documentDepthMax)) throw refuse([{ path: at, expected: tooDeep }]);
  const merged = structuredClone({ ...defaultConfiguration, ...settings });
  if (configurationSchema) {
    let problems: Problem[];
    try {
      const limit = installed ? {} : { timeMsMax: LIMITS.schemaCheckMsMax };
      // The manifest it stands in was checked when it was read.
      problems = compileSchema(configurationSchema, { useDefaults: true, trusted: true, ...limit })(merged);
    } catch (cause) {
      const expected = `settings that the configurationSchema can check (${(cause as Error).message})`;
      throw refuse([{ path: at, expected }]);
    }
    if (problems.length > 0) {
      throw refuse(problems.map(problem => ({ ...problem, path: at + problem.path.slice(1) })));
    }
  }
  return deepFreeze(merged);
}

export function deepFreeze<Value>(value: Value): Value {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
