/**
 * Bundles entries with everything they import into ES modules: one for each entry, and one for each part that is loaded later or
 * shared, if `split` says so. Only what Node has built in stays an import. The output depends on the input files alone: no
 * absolute paths, no dates.
 */
import { basename, join } from 'node:path';
import type { BuildFailure, Message, Plugin } from 'esbuild';
import { HoldfastError } from '#core';
import { dependencies } from './dependencies.ts';
import { dependencyAssets, type Asset } from './dependency-assets.ts';
import { leanHttp } from './lean-http.ts';

export interface Bundle {
  /** The entries under their names; beside them the parts that they load. */
  modules: { name: string; code: Buffer }[];
  /** Absolute paths of every file that went in. */
  inputs: string[];
  /** Files of dependencies that must lie below the bundle. */
  assets: Asset[];
}

/** Raised when the same input would make another package; part of the stamp. */
export const BUNDLER_REVISION = 6;

export interface BundleOptions {
  /** Absolute paths by the file name of the module that each becomes. */
  entries: Record<string, string>;
  /** Names in messages are relative to it. */
  directory: string;
  /** What is imported dynamically becomes a module of its own, which is read only when it is needed. */
  split?: boolean;
  /** Dependencies that stay imports. */
  external?: string[];
  plugins?: Plugin[];
}

/** @throws HoldfastError HF_PACKAGE_INVALID with what esbuild found, each with its place */
export async function bundle(options: BundleOptions): Promise<Bundle> {
  // Loaded only now: most commands, and a start with nothing to pack, do without.
  const { build } = await import('esbuild');
  const assets = dependencyAssets();
  try {
    const { outputFiles, metafile } = await build({
      entryPoints: Object.entries(options.entries).map(([name, path]) => ({
        in: path,
        out: name.replace(/\.m?js$/, ''),
      })),
      absWorkingDir: options.directory,
      outdir: '.', // never written; names in the metafile are relative to the folder
      write: false,
      bundle: true,
      splitting: options.split ?? false,
      chunkNames: 'part-[hash]',
      external: options.external ?? [],
      platform: 'node',
      format: 'esm',
      target: 'node24',
      // Names stay readable in stack traces; whitespace and syntax are most of the gain.
      minifyWhitespace: true,
      minifySyntax: true,
      legalComments: 'eof',
      sourcemap: false,
      metafile: true,
      logLevel: 'silent',
      define: { __filename: '__holdfastFilename', __dirname: '__holdfastDirname' },
      plugins: [...(options.plugins ?? []), leanHttp, dependencies, assets.plugin],
    });
    const names = new Map(Object.keys(options.entries).map(name => [name.replace(/\.m?js$/, '.js'), name]));
    const commonJs = new Set(
      outputFiles.filter(({ text }) => commonJsPart.test(text)).map(({ path }) => basename(path)),
    );
    return {
      modules: outputFiles.map(({ path, text }) => {
        const code = withNamedExports(text, commonJs);
        return {
          name: names.get(basename(path)) ?? basename(path),
          code: Buffer.from(commonJsPrelude(code) + code),
        };
      }),
      inputs: Object.keys(metafile.inputs)
        .filter(path => !path.includes(':'))
        .map(path => join(options.directory, path)),
      assets: await assets.files(),
    };
  } catch (error) {
    if (!isBuildFailure(error)) throw error;
    throw new HoldfastError('HF_PACKAGE_INVALID', error.errors.slice(0, 5).map(describe).join('\n'), {
      details: { errors: error.errors.slice(0, 20).map(describe) },
      cause: error,
    });
  }
}

/** Ends esbuild's own process, which would stay until this one ends. Call when no bundle is being made. */
export async function stopBundler(): Promise<void> {
  const { stop } = await import('esbuild');
  await stop();
}

/** A part that is a CommonJS module: esbuild gives it a default export and nothing else. */
const commonJsPart = /(?:^|;)export default require_[\w$]+\(\);/;

/** `await import()` of CommonJS gives the names that it exports, as in Node, also when it has become a part. */
function withNamedExports(code: string, commonJs: ReadonlySet<string>): string {
  return code.replaceAll(/\bimport\("\.\/(part-\w+\.js)"\)/g, (found, part: string) =>
    commonJs.has(part) ? `${found}.then(({default:exported})=>({...exported,default:exported}))` : found,
  );
}

/**
 * Bundled CommonJS uses `require` for built-ins, and sometimes asks where it lies. The variables are declared only where they are
 * used, because a module may well declare its own `require`; esbuild renames that one exactly when both occur.
 */
function commonJsPrelude(code: string): string {
  const lines: string[] = [];
  if (/typeof require\b/.test(code)) {
    lines.push(
      `import{createRequire as __holdfastCreateRequire}from"node:module";const require=__holdfastCreateRequire(import.meta.url);`,
    );
  }
  if (code.includes('__holdfastFilename')) lines.push('const __holdfastFilename=import.meta.filename;');
  if (code.includes('__holdfastDirname')) lines.push('const __holdfastDirname=import.meta.dirname;');
  return lines.map(line => `${line}\n`).join('');
}

function isBuildFailure(error: unknown): error is BuildFailure {
  return error instanceof Error && Array.isArray((error as Partial<BuildFailure>).errors);
}

function describe({ text, location }: Message): string {
  const advice = /^Could not resolve "([^".][^"]*)"/.exec(text)
    ? '; if it is a dependency, install it in the package’s folder with: npm install'
    : '';
  const place = location ? `${location.file}:${location.line}:${location.column + 1}: ` : '';
  return `${place}${text}${advice}`;
}
