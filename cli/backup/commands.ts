/** `holdfast backup` and `holdfast restore`: their options and examples. */
import type { Command } from 'commander';
import type { Environment } from '../environment.ts';

export function addBackupCommands(
  add: (usage: string, description: string, examples: string[]) => Command,
  connected: (command: Command) => Command,
  environment: Environment,
): void {
  connected(
    add(
      'backup',
      'Write the state of the cluster into a file: settings, packages, keys, notes; not the data of components.',
      ['holdfast backup', 'holdfast backup --output /backups/shop.zip'],
    ),
  )
    .option('--output <file>', 'file to write (default: named after cluster and time)')
    .option('--json', 'answer with JSON')
    .action(async options => {
      const { runBackup } = await import('./backup.ts');
      await runBackup(options, environment);
    });
  connected(
    add('restore <file>', 'Bring a backup into an empty cluster: a new store, nodes, no instances.', [
      'holdfast restore shop-2026-11-28T09-00-00-000Z.zip',
    ]),
  )
    .option('--with-nodes', 'take the nodes of the backup, instead of those in the present settings')
    .option('--json', 'answer with JSON')
    .action(async (file: string, options) => {
      const { runRestore } = await import('./restore.ts');
      await runRestore(file, options, environment);
    });
}
