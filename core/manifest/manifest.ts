/** Reads a package's manifest: older spellings normalised, checked, defaults filled in. Pure. */
import { deepFreeze } from '../deep-freeze.ts';
import { HoldfastError } from '../errors/holdfast-error.ts';
import { LIMITS } from '../limits.ts';
import { describeProblem, isDeeperThan, type Problem } from '../problems.ts';
import { compileSchema, ownSchema } from '../validation.ts';
import { invalidManifest, pathProblems, readManifest, tooDeep, withDefaults } from './installed-manifest.ts';
import manifestSchema from './manifest.schema.json' with { type: 'json' };
import type { Manifest, ManifestDocument } from './schema.ts';

const validate = ownSchema(manifestSchema);

/** How far a package is to be trusted. */
interface Trust {
  /** It was checked when it was installed: its schema is used without a limit of time. */
  installed?: boolean;
}

/** @throws HoldfastError HF_PACKAGE_INVALID with `details.problems` */
export function parseManifest(text: string): Manifest {
  const document = readManifest(text);
  const problems = [...validate(document), ...pathProblems(document)];
  if (problems.length > 0) throw invalidManifest(problems);
  checkConfigurationSchema(document as ManifestDocument);
  return withDefaults(document as ManifestDocument);
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
    throw invalidManifest([
      {
        path: '$.configurationSchema',
        expected: `a JSON Schema of draft-07 (${(cause as Error).message})`,
      },
    ]);
  }
  if (problems.length > 0) {
    throw invalidManifest(
      problems.map(problem => ({ ...problem, path: `$.defaultConfiguration${problem.path.slice(1)}` })),
    );
  }
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
