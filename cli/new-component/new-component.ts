/** `holdfast new component <name>`: a folder with a small component that `pack` and `deploy` take as it is. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { HoldfastError, PACKAGE_NAME_FORM } from '#core';
import { jsonLine, shownPath } from '../output.ts';
import type { Environment } from '../environment.ts';
import { projectRoot } from '../up/built-in.ts';
import { entryName, filesOf, type Template } from './templates.ts';

/** The types that an author needs, in one file without imports. */
const typesPath = join(import.meta.dirname, '../../core/component.ts');

export async function runNewComponent(
  name: string,
  options: {
    typescript?: boolean;
    javascript?: boolean;
    ownsResources?: boolean;
    job?: boolean;
    json?: boolean;
  },
  { cwd, stdout }: Environment,
): Promise<void> {
  if (options.typescript && options.javascript) {
    throw new HoldfastError('HF_USAGE', 'choose one of --typescript and --javascript');
  }
  if (options.ownsResources && options.job) {
    throw new HoldfastError('HF_USAGE', 'choose one of --owns-resources and --job: a job owns no resources');
  }
  const template: Template = {
    name,
    language: options.javascript ? 'javascript' : 'typescript',
    does: options.job ? 'run' : options.ownsResources ? 'own' : 'answer',
  };
  const directory = resolve(cwd, name);
  const files = await createComponent(directory, template);
  if (options.json) {
    stdout.write(jsonLine({ directory, files }));
    return;
  }
  const program = shownPath(cwd, join(projectRoot, 'bin/holdfast')); // as it can be typed here
  stdout.write(
    [
      `Made ${relative(cwd, directory)}/ with ${files.join(', ')}.`,
      `Its code is ${name}/${entryName(template)}. Next:`,
      '',
      `  ${program} pack ${name}`,
      `  ${program} deploy ${name}-0.1.0.zip${options.job ? ' --cron "*/5 * * * *"' : ` --instances 2 --route /${name}`}`,
      '',
    ].join('\n'),
  );
}

/**
 * Writes the files into a new or empty folder; answers with their names.
 * @throws HoldfastError HF_USAGE for a name that no package may have, or a folder that is not empty
 */
export async function createComponent(directory: string, template: Template): Promise<string[]> {
  if (!new RegExp(PACKAGE_NAME_FORM.pattern).test(template.name)) {
    throw new HoldfastError(
      'HF_USAGE',
      `"${template.name}" cannot name a package: lower-case letters, digits, dot, dash and underscore, at most 64`,
    );
  }
  const present = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new HoldfastError('HF_USAGE', `${directory} is in the way: ${error.message}`, { cause: error });
  });
  if (present.length > 0) {
    throw new HoldfastError('HF_USAGE', `${directory} exists and is not empty; choose another name`);
  }
  const files = { ...filesOf(template), 'component.d.ts': await readFile(typesPath, 'utf8') };
  await mkdir(directory, { recursive: true });
  await Promise.all(
    Object.entries(files).map(([name, content]) => writeFile(join(directory, name), content)),
  );
  return Object.keys(files).sort();
}
