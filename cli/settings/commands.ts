/** `holdfast settings …`: which commands there are, their options and examples. */
import { InvalidArgumentError, type Command } from 'commander';
import type { Environment } from '../environment.ts';

export function addSettingsCommands(
  program: Command,
  connected: (command: Command) => Command,
  environment: Environment,
): void {
  const settings = program
    .command('settings')
    .description('Show, change, compare and undo the settings of the cluster.')
    .addHelpText('after', '\nExample:\n  holdfast settings diff cluster-settings.json');
  const add = (usage: string, description: string, ...examples: string[]) =>
    connected(
      settings
        .command(usage)
        .description(description)
        .addHelpText('after', `\nExample:\n${examples.map(line => `  ${line}`).join('\n')}`),
    ).option('--json', 'answer with JSON');

  add(
    'get',
    'Print the settings as they were written.',
    'holdfast settings get > cluster-settings.json',
  ).action(async options => {
    const { getSettings } = await import('./settings.ts');
    await getSettings(options, environment);
  });
  add(
    'put <file>',
    'Replace the settings, unless somebody else changed them meanwhile.',
    'holdfast settings put cluster-settings.json',
    'holdfast settings put edited.json --if-match \'"3f2a…"\'',
  )
    .option('--if-match <etag>', 'the ETag that the file was made from (default: the present one)')
    .action(async (file: string, options) => {
      const { putSettings } = await import('./settings.ts');
      await putSettings(file, options, environment);
    });
  add('history', 'List the revisions of the settings, newest first.', 'holdfast settings history').action(
    async options => {
      const { listHistory } = await import('./settings.ts');
      await listHistory(options, environment);
    },
  );
  add('show <revision>', 'Print the settings of one revision.', 'holdfast settings show 12').action(
    async (revision: string, options) => {
      const { showRevision } = await import('./settings.ts');
      await showRevision(wholeNumber(revision), options, environment);
    },
  );
  add(
    'diff [file]',
    'Show what differs: two revisions, or the cluster and a file that would replace its settings.',
    'holdfast settings diff',
    'holdfast settings diff --from 11 --to 14',
    'holdfast settings diff cluster-settings.json',
  )
    .option('--from <revision>', 'the older one (default: the one before --to)', wholeNumber)
    .option('--to <revision>', 'the newer one (default: the present one)', wholeNumber)
    .action(async (file: string | undefined, options) => {
      const { showDiff } = await import('./settings.ts');
      await showDiff(file, options, environment);
    });
  add(
    'undo',
    'Make an earlier revision the newest again; by default the one before.',
    'holdfast settings undo',
    'holdfast settings undo --to 11',
  )
    .option('--to <revision>', 'the revision to go back to', wholeNumber)
    .action(async options => {
      const { undoSettings } = await import('./settings.ts');
      await undoSettings(options, environment);
    });
}

function wholeNumber(text: string): number {
  if (/^[1-9]\d{0,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('expected the number of a revision, as in holdfast settings history');
}
