/**
 * How imports of dependencies are resolved, where esbuild alone would make a package that does not run:
 *
 * - Compiled parts: a package is one file of JavaScript that runs on every node, so a native module in it is refused with
 *   its name. One that its user declares as optional is left out instead: such code falls back when the import fails.
 * - UMD modules hand `require` on as a value, so their own imports cannot be bundled. Such packages have an ES module too.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Plugin } from 'esbuild';
import { owningPackage, type OwningPackage, type PackageJson } from './owning-package.ts';

/** Loaders of compiled modules; whoever depends on one has a compiled module. */
const loaders = [
  'bindings',
  'node-gyp-build',
  'node-gyp-build-optional-packages',
  'node-pre-gyp',
  'prebuild-install',
];

export const dependencies: Plugin = {
  name: 'dependencies',
  setup(build) {
    build.onResolve({ filter: /\.node$/ }, ({ path, importer }) => ({
      errors: [{ text: refusal(owningPackage(importer)?.name ?? path) }],
    }));
    // A bare name: the start of a dependency. Names with # are the folder's own imports.
    build.onResolve({ filter: /^(?:@[^/]+\/)?[^./#@:][^:]*$/ }, async ({ path, pluginData, ...rest }) => {
      if (pluginData === 'resolving' || rest.kind === 'entry-point') return undefined;
      const { importer, kind, namespace, resolveDir } = rest;
      const found = await build.resolve(path, {
        importer,
        kind,
        namespace,
        resolveDir,
        pluginData: 'resolving',
      });
      // Errors and built-ins are esbuild's own matter.
      if (found.errors.length > 0 || found.external || found.namespace !== 'file') return undefined;
      const dependency = owningPackage(found.path);
      if (!dependency) return undefined;
      if (isNative(dependency)) {
        const user = owningPackage(importer);
        if (user && isOptional(user.json, dependency.name)) return { path, external: true };
        return { errors: [{ text: refusal(dependency.name) }] };
      }
      const { module, exports } = dependency.json;
      if (module && !exports && isUmd(found.path)) return { path: join(dependency.directory, module) };
      return undefined;
    });
  },
};

function refusal(name: string): string {
  return `${name} is a native module (compiled code), which cannot be bundled; use a dependency in plain JavaScript, or what Node has built in`;
}

function isNative({ directory, json }: OwningPackage): boolean {
  return (
    json.gypfile === true ||
    existsSync(join(directory, 'binding.gyp')) ||
    loaders.some(loader => json.dependencies?.[loader] !== undefined)
  );
}

function isOptional(user: PackageJson, name: string): boolean {
  return (
    user.optionalDependencies?.[name] !== undefined || user.peerDependenciesMeta?.[name]?.optional === true
  );
}

function isUmd(file: string): boolean {
  const text = readFileSync(file, 'utf8').slice(0, 2_000);
  return /\bdefine\.amd\b/.test(text) && /\bfactory\(require\b/.test(text);
}
