/** `holdfast deployments …`, `rollback`, `plan` and `sync`: which commands there are, their options and examples. */
import { InvalidArgumentError, type Command } from 'commander';
import type { Environment } from '../environment.ts';

export function addDeploymentCommands(
  program: Command,
  connected: (command: Command) => Command,
  environment: Environment,
): void {
  const add = (parent: Command, usage: string, description: string, ...examples: string[]) =>
    connected(
      parent
        .command(usage)
        .description(description)
        .addHelpText('after', `\nExample:\n${examples.map(line => `  ${line}`).join('\n')}`),
    ).option('--json', 'answer with JSON');

  const deployments = program
    .command('deployments')
    .description('List and show deployments; promote, pause, resume or abort one.')
    .addHelpText('after', '\nExample:\n  holdfast deployments list --instance databases');
  add(
    deployments,
    'list',
    'List deployments, newest first.',
    'holdfast deployments list',
    'holdfast deployments list --instance databases --limit 5',
  )
    .option('--instance <id>', 'only those of one instance')
    .option('--limit <n>', 'so many at most', atMost, 20)
    .action(async options => {
      const { listDeployments } = await import('./deployments.ts');
      await listDeployments(options, environment);
    });
  add(
    deployments,
    'show <id>',
    'Show a deployment: what changed, who did it, how far it is and why.',
    'holdfast deployments show databases-3',
  ).action(async (id: string, options) => {
    const { showDeployment } = await import('./deployments.ts');
    await showDeployment(id, options, environment);
  });
  for (const [command, description] of [
    ['promote', 'Let a canary go on to all copies.'],
    ['pause', 'Replace no more copies until it is resumed.'],
    ['resume', 'Go on with a deployment that was paused, or that halted.'],
    ['abort', 'Go back to what was before.'],
  ] as const) {
    add(deployments, `${command} <id>`, description, `holdfast deployments ${command} databases-3`).action(
      async (id: string, options) => {
        const { commandDeployment } = await import('./deployments.ts');
        await commandDeployment(id, command, options, environment);
      },
    );
  }
  add(
    program,
    'rollback <package>',
    'Set all instances of a package back to its previous version, and wait until it runs.',
    'holdfast rollback my-component',
  )
    .option('--timeout <seconds>', 'how long to wait until it runs', '120')
    .action(async (packageName: string, options) => {
      const { runRollback } = await import('./rollback.ts');
      await runRollback(packageName, options, environment);
    });
  add(program, 'plan', 'Show what the next sync would do, and why.', 'holdfast plan').action(
    async options => {
      const { runPlan } = await import('./sync.ts');
      await runPlan(options, environment);
    },
  );
  add(program, 'sync', 'Make the cluster match its settings now.', 'holdfast sync').action(async options => {
    const { runSync } = await import('./sync.ts');
    await runSync(options, environment);
  });
}

function atMost(text: string): number {
  if (/^[1-9]\d{0,2}$|^1000$/.test(text)) return Number(text);
  throw new InvalidArgumentError('expected a number from 1 to 1000');
}
