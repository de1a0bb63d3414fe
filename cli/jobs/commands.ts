/** `holdfast jobs …`: which commands there are, their options and examples. */
import type { Command } from 'commander';
import type { Environment } from '../environment.ts';

export function addJobCommands(
  program: Command,
  connected: (command: Command) => Command,
  environment: Environment,
): void {
  const jobs = program
    .command('jobs')
    .description('Show, run and cancel jobs: instances that run to completion, once or by cron.')
    .addHelpText('after', '\nExample:\n  holdfast jobs run nightly-report --wait');
  const add = (usage: string, description: string, example: string) =>
    connected(
      jobs.command(usage).description(description).addHelpText('after', `\nExample:\n  ${example}`),
    ).option('--json', 'answer with JSON');

  add(
    'list',
    'List the jobs: what runs, what came of the last run, when the next is due.',
    'holdfast jobs list',
  ).action(async options => {
    const { listJobs } = await import('./jobs.ts');
    await listJobs(options, environment);
  });
  add(
    'show <id>',
    'Show one job with its next times and its history.',
    'holdfast jobs show nightly-report',
  ).action(async (id: string, options) => {
    const { showJob } = await import('./jobs.ts');
    await showJob(id, options, environment);
  });
  add('run <id>', 'Run a job now, whenever it is due.', 'holdfast jobs run nightly-report --wait')
    .option('--wait', 'wait for the outcome, and exit with 1 unless it succeeds')
    .action(async (id: string, options) => {
      const { runJob } = await import('./jobs.ts');
      await runJob(id, options, environment);
    });
  add('cancel <id>', 'End the run of a job that is under way.', 'holdfast jobs cancel nightly-report').action(
    async (id: string, options) => {
      const { cancelJob } = await import('./jobs.ts');
      await cancelJob(id, options, environment);
    },
  );
}
