/** `holdfast dead-letters …`: which commands there are, their options and examples. */
import type { Command } from 'commander';
import type { Environment } from '../environment.ts';

export function addDeadLetterCommands(
  program: Command,
  connected: (command: Command) => Command,
  environment: Environment,
): void {
  const deadLetters = program
    .command('dead-letters')
    .description('Show, replay and remove messages that an instance could not handle.')
    .addHelpText('after', '\nExample:\n  holdfast dead-letters replay importer --all');
  const add = (usage: string, description: string, example: string) =>
    connected(
      deadLetters.command(usage).description(description).addHelpText('after', `\nExample:\n  ${example}`),
    )
      .option('--group <name>', 'the group (default: the instance)')
      .option('--json', 'answer with JSON');

  add(
    'list <instance>',
    'List the dead letters of an instance, the oldest first.',
    'holdfast dead-letters list importer',
  )
    .option('--limit <count>', 'how many at most', '100')
    .action(async (instance: string, options) => {
      const { listDeadLetters } = await import('./dead-letters.ts');
      await listDeadLetters(instance, options, environment);
    });
  for (const [action, description] of [
    ['replay', 'Give dead letters to the instance again, with fresh attempts.'],
    ['remove', 'Remove dead letters for good.'],
  ] as const) {
    add(`${action} <instance> [ids...]`, description, `holdfast dead-letters ${action} importer 17 18`)
      .option('--all', 'all of them')
      .action(async (instance: string, ids: string[], options) => {
        const { settleDeadLetters } = await import('./dead-letters.ts');
        await settleDeadLetters(action, instance, ids, options, environment);
      });
  }
}
