/** The commands of maintenance: `nodes`, `restart`, `explain`, `reconciliation`. Part of `program.ts`. */
import type { Command } from 'commander';
import type { Environment } from './environment.ts';

export interface CommandHelpers {
  program: Command;
  /** Adds the options that say where the cluster is. */
  connected: (command: Command) => Command;
  setExitCode: (code: number) => void;
}

export function addMaintenanceCommands(
  { program, connected, setExitCode }: CommandHelpers,
  environment: Environment,
): void {
  const nodes = program
    .command('nodes')
    .description('Show the nodes, and take one out of use and back.')
    .addHelpText('after', '\nExample:\n  holdfast nodes drain node-2 --reason "new disk"');
  const sub = (parent: Command, usage: string, description: string, example: string) =>
    connected(
      parent.command(usage).description(description).addHelpText('after', `\nExample:\n  ${example}`),
    ).option('--json', 'answer with JSON');

  sub(
    nodes,
    'list',
    'Show every node, what runs there and what it is short of.',
    'holdfast nodes list',
  ).action(async options => {
    const { listNodes } = await import('./commands/nodes.ts');
    await listNodes(options, environment);
  });
  sub(
    nodes,
    'cordon <node>',
    'Give a node no more copies; those it has stay.',
    'holdfast nodes cordon node-2',
  )
    .option('--reason <text>', 'why; shown in status')
    .action(async (name: string, options) => {
      const { cordonNode } = await import('./commands/nodes.ts');
      await cordonNode(name, options, environment);
    });
  sub(
    nodes,
    'drain <node>',
    'Move all copies away from a node without failing a request, and give it no more.',
    'holdfast nodes drain node-2 --reason "new disk" --deadline 10m',
  )
    .option('--reason <text>', 'why; shown in status')
    .option('--deadline <time>', 'stop by then what could not move (default: never)')
    .option('--timeout <time>', 'how long to wait until nothing is left there', '10m')
    .option('--no-wait', 'do not wait')
    .action(async (name: string, options) => {
      const { drainNode } = await import('./commands/nodes.ts');
      setExitCode(await drainNode(name, options, environment));
    });
  sub(
    nodes,
    'undrain <node>',
    'Let a node that was cordoned or drained have copies again.',
    'holdfast nodes undrain node-2',
  ).action(async (name: string, options) => {
    const { undrainNode } = await import('./commands/nodes.ts');
    await undrainNode(name, options, environment);
  });

  sub(
    program,
    'explain <instance>',
    'Say why the copies of an instance are where they are, and where the next one would go.',
    'holdfast explain databases',
  ).action(async (instanceId: string, options) => {
    const { runExplain } = await import('./commands/explain.ts');
    await runExplain(instanceId, options, environment);
  });
  sub(
    program,
    'restart <instance>',
    'Replace every copy of an instance without failing a request, and wait until it is done.',
    'holdfast restart databases',
  )
    .option('--timeout <time>', 'how long to wait', '10m')
    .option('--no-wait', 'do not wait')
    .action(async (instanceId: string, options) => {
      const { runRestart } = await import('./commands/restart.ts');
      setExitCode(await runRestart(instanceId, options, environment));
    });

  const reconciliation = program
    .command('reconciliation')
    .description('Pause and resume all that the node managers do by themselves.')
    .addHelpText('after', '\nExample:\n  holdfast reconciliation pause --reason "network works tonight"');
  sub(
    reconciliation,
    'pause',
    'Observe and plan, but start, stop and move nothing.',
    'holdfast reconciliation pause --reason "network works tonight"',
  )
    .option('--reason <text>', 'why; shown in status')
    .action(async options => {
      const { pauseReconciliation } = await import('./commands/reconciliation.ts');
      await pauseReconciliation(options, environment);
    });
  sub(reconciliation, 'resume', 'Go on reconciling.', 'holdfast reconciliation resume').action(
    async options => {
      const { resumeReconciliation } = await import('./commands/reconciliation.ts');
      await resumeReconciliation(options, environment);
    },
  );
}
