/**
 * The command line: which commands there are, their options and examples. Each command's code is loaded only when it
 * runs. Exit codes: 0 ok, 1 failure, 2 usage.
 */
import { Command, Option } from 'commander';
import type { Scope } from '#http-api';
import { addDeploymentCommands } from './deployments/commands.ts';
import { addDeadLetterCommands } from './dead-letters/commands.ts';
import { addBackupCommands } from './backup/commands.ts';
import type { Environment } from './environment.ts';
import { addJobCommands } from './jobs/commands.ts';
import { addSettingsCommands } from './settings/commands.ts';
import { addMaintenanceCommands } from './maintenance-commands.ts';

/** Not imported as a value: that would load all of the HTTP server for every command. */
const scopes = ['read', 'deploy', 'admin'] satisfies Scope[];

/** @throws CommanderError on wrong usage (after the message), HoldfastError when the command fails */
export async function runProgram(words: readonly string[], environment: Environment): Promise<number> {
  let exitCode = 0;
  const program = new Command('holdfast')
    .description('Runs components on a cluster and gives every resource to exactly one process.')
    .option('--verbose', 'show stack traces of errors')
    .exitOverride()
    .configureOutput({
      writeOut: text => environment.stdout.write(text),
      writeErr: text => environment.stderr.write(text),
    })
    .showHelpAfterError('(see --help)');
  const add = (usage: string, description: string, examples: string[]) =>
    program
      .command(usage)
      .description(description)
      .addHelpText(
        'after',
        `\nExample${examples.length > 1 ? 's' : ''}:\n${examples.map(line => `  ${line}`).join('\n')}`,
      );
  const connected = (command: Command) =>
    command
      .option('--uri <uri>', 'URI of the master (default: the cluster of the nearest .holdfast/)')
      .option('--token-file <file>', 'file with the token (default: token in the nearest .holdfast/)');

  add('up', 'Run the cluster of a settings file on this machine, in the foreground.', [
    'holdfast up',
    'holdfast up --settings other/cluster-settings.json --state /tmp/state',
  ])
    .option('--settings <file>', 'settings of the cluster', 'cluster-settings.json')
    .option('--state <dir>', 'folder of the state (default: .holdfast beside the settings)')
    .option('--json', 'print one line of JSON when ready')
    .action(async options => {
      const { up } = await import('./up/up.ts');
      exitCode = await up(options, environment);
    });
  add('node', 'Run the agent of one node, in the foreground.', [
    'holdfast node --name node-4 --listen 10.0.0.4:5100 --data /var/lib/holdfast',
  ])
    .requiredOption('--name <name>', 'name of the node, as in the settings (networkName)')
    .requiredOption('--listen <host:port>', 'where its API listens')
    .requiredOption('--data <dir>', 'folder of its state')
    .option(
      '--token-file <file>',
      'file with the cluster secret (default: token in the nearest .holdfast above --data)',
    )
    .option(
      '--coordination-file <file>',
      'file (0600) with the address of the coordination store (default: what bootstrap hands over, or the embedded one)',
    )
    .option(
      '--min-free-disk-mib <n>',
      'disk that must stay free, or it takes no packages and starts nothing (default: 2 %, at least 256)',
    )
    .option('--stop-hosts', 'stop its hosts with it, instead of leaving them for the next agent to adopt')
    .action(async options => {
      const { runNode } = await import('./commands/node.ts');
      exitCode = await runNode(options, environment);
    });
  add(
    'bootstrap',
    'Hand the nodes of a cluster their coordination store, and start its node manager on one of them.',
    ['holdfast bootstrap --settings cluster-settings.json --node http://10.0.0.4:5100 --token-file token'],
  )
    .requiredOption('--settings <file>', 'settings of the cluster')
    .requiredOption('--node <uri>', 'URI of the API of the node that shall run it')
    .option('--token-file <file>', 'file with the cluster secret (default: the nearest .holdfast/token)')
    .option('--json', 'answer with JSON')
    .action(async options => {
      const { runBootstrap } = await import('./commands/bootstrap.ts');
      await runBootstrap(options, environment);
    });
  add('pack <folder>', 'Bundle the folder of a package into a ZIP.', [
    'holdfast pack my-component',
    'holdfast pack my-component --out build',
  ])
    .option('--out <dir>', 'folder for the ZIP', '.')
    .option('--json', 'answer with JSON')
    .action(async (folder: string, options) => {
      const { runPack } = await import('./commands/pack.ts');
      await runPack(folder, options, environment);
    });
  connected(
    add('deploy <zip>', 'Upload a package to the cluster and wait until it runs.', [
      'holdfast deploy my-component-0.1.0.zip --instances 2 --route /hello',
      'holdfast deploy my-component-0.2.0.zip',
      'holdfast deploy nightly-0.1.0.zip --cron "0 3 * * *"',
      'holdfast deploy my-component-0.3.0.zip --canary 1 --promote-after 10m',
    ]),
  )
    .option(
      '--instances <n>',
      'run it with this many copies, or "perNode": adds or changes the instance in the settings',
    )
    .option(
      '--cron <expression>',
      'make it a job that runs by this cron expression (5 fields, or 6 with seconds)',
    )
    .option('--once', 'make it a job that runs once')
    .option('--id <id>', 'id of that instance (default: the name of the package)')
    .option('--route <prefix>', 'path prefix that the router sends to it')
    .option('--canary <n>', 'change so many copies first, and the others after a promotion')
    .option(
      '--promote-after <time>',
      'promote the canaries after so long in good health, like 10m (default: by hand)',
    )
    .option('--timeout <seconds>', 'how long to wait until it runs', '120')
    .option('--json', 'answer with JSON')
    .action(async (zip: string, options) => {
      const { runDeploy } = await import('./deploy/deploy.ts');
      await runDeploy(zip, options, environment);
    });
  connected(
    add('status', 'Show nodes, instances and problems.', ['holdfast status', 'holdfast status --json']),
  )
    .option('--json', 'answer with JSON')
    .action(async options => {
      const { runStatus } = await import('./commands/status.ts');
      await runStatus(options, environment);
    });
  connected(
    add('logs', 'Show the logs of an instance’s processes, or of one process.', [
      'holdfast logs databases --tail 20',
    ]).argument('<target>', 'id of an instance, or a processId'),
  )
    .option('--tail <n>', 'only the last lines', '100')
    .option('--json', 'answer with JSON')
    .action(async (target: string, options) => {
      const { runLogs } = await import('./commands/logs.ts');
      await runLogs(target, options, environment);
    });
  addSettingsCommands(program, connected, environment);
  addDeploymentCommands(program, connected, environment);
  addBackupCommands(add, connected, environment);
  addJobCommands(program, connected, environment);
  addDeadLetterCommands(program, connected, environment);
  const keyCommand = (usage: string, description: string, example: string) =>
    connected(
      key
        .command(usage)
        .description(description)
        .addHelpText('after', `\nExample:\n  ${example}`)
        .option('--instance <id>', 'the instance, where several have a key of that name'),
    ).option('--json', 'answer with JSON');
  const key = program
    .command('key')
    .description('Show, move, release, pause and resume single keys.')
    .addHelpText('after', '\nExample:\n  holdfast key move /db/customers --to node-2');
  keyCommand('show <key>', 'Show who owns a key.', 'holdfast key show /db/customers').action(
    async (name: string, options) => {
      const { showKey } = await import('./commands/key.ts');
      await showKey(name, options, environment);
    },
  );
  keyCommand(
    'move <key>',
    'Hand a key to another host without failing a request.',
    'holdfast key move /db/customers --to node-2',
  )
    .option('--to <where>', 'a processId or the name of a node (default: the host with the least keys)')
    .action(async (name: string, options) => {
      const { moveKey } = await import('./commands/key.ts');
      await moveKey(name, options, environment);
    });
  keyCommand(
    'release <key>',
    'Make the owner close a key and give it back.',
    'holdfast key release /db/customers',
  ).action(async (name: string, options) => {
    const { releaseKey } = await import('./commands/key.ts');
    await releaseKey(name, options, environment);
  });
  keyCommand(
    'pause <key>',
    'Close a key and let nobody own it; requests for it wait.',
    'holdfast key pause /db/customers',
  ).action(async (name: string, options) => {
    const { pauseKey } = await import('./commands/key.ts');
    await pauseKey(name, options, environment);
  });
  keyCommand('resume <key>', 'Let a paused key be owned again.', 'holdfast key resume /db/customers').action(
    async (name: string, options) => {
      const { resumeKey } = await import('./commands/key.ts');
      await resumeKey(name, options, environment);
    },
  );

  addMaintenanceCommands({ program, connected, setExitCode: code => (exitCode = code) }, environment);

  const tokenFile = new Option(
    '--token-file <file>',
    'file with the cluster secret (default: token in the nearest .holdfast/)',
  );
  const token = add('token', 'Print the admin token of the cluster here.', [
    'curl -H "Authorization: Bearer $(holdfast token)" http://127.0.0.1:7777/api/master',
    'holdfast token create --scope read --expires 30d',
  ])
    .addOption(tokenFile)
    .action(async options => {
      const { printToken } = await import('./commands/token.ts');
      await printToken(options, environment);
    });
  token
    .command('create')
    .description('Make a token with a narrower scope.')
    .addOption(new Option('--scope <scope>', 'what it may do').choices(scopes).default('read'))
    .option('--expires <time>', 'how long it is valid, like 12h or 30d; "never" for no end', '30d')
    .addOption(tokenFile)
    .option('--json', 'answer with JSON')
    .addHelpText('after', '\nExample:\n  holdfast token create --scope deploy --expires 12h')
    .action(async (_options, command: Command) => {
      const { createToken } = await import('./commands/token.ts');
      await createToken(command.optsWithGlobals(), environment);
    });

  program
    .command('new')
    .description('Make something new.')
    .addHelpText('after', '\nExample:\n  holdfast new component my-component')
    .command('component <name>')
    .description('Make the folder of a new component, ready to pack and deploy.')
    .option('--typescript', 'in TypeScript (default)')
    .option('--javascript', 'in JavaScript')
    .option('--owns-resources', 'one that owns resources, instead of one that just answers')
    .option('--job', 'one that runs to completion, once or by cron')
    .option('--json', 'answer with JSON')
    .addHelpText('after', '\nExample:\n  holdfast new component my-component --owns-resources')
    .action(async (name: string, options) => {
      const { runNewComponent } = await import('./new-component/new-component.ts');
      await runNewComponent(name, options, environment);
    });

  await program.parseAsync(words, { from: 'user' });
  return exitCode;
}
