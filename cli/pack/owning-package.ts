/** Which package on disk a file belongs to. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The fields of a `package.json` that packing looks at. */
export interface PackageJson {
  name?: string;
  /** ES module variant of `main`, a convention of bundlers that Node does not know. */
  module?: string;
  exports?: unknown;
  gypfile?: boolean;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  peerDependenciesMeta?: Record<string, { optional?: boolean }>;
}

export interface OwningPackage {
  directory: string;
  name: string;
  json: PackageJson;
}

/** The nearest package.json above a file that has a name, or null. */
export function owningPackage(file: string): OwningPackage | null {
  for (let folder = dirname(file); folder !== dirname(folder); folder = dirname(folder)) {
    try {
      const json = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as PackageJson;
      if (json.name) return { directory: folder, name: json.name, json };
    } catch {
      // none here, or one that esbuild complains about itself
    }
  }
  return null;
}
