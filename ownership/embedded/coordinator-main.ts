/**
 * The coordinator as a process: `node coordinator-main.ts --state <stateRoot> [--linger-ms <ms>]`. Prints nothing on success, logs to
 * `<stateRoot>/coordination/coordinator.log`, and ends by itself when nobody needs it any more. Exit codes: see exit-codes.ts.
 */
import { flushCompileCache } from 'node:module';
import { parseArgs } from 'node:util';
import { createSystem, HoldfastError, type Logger } from '#core';
import { startCoordinator } from './coordinator.ts';
import { openCoordinatorLog } from './coordinator-log.ts';
import { EXIT } from './exit-codes.ts';
import { coordinationPaths, prepareFolder, unusable } from './state-folder.ts';

const lingerMsDefault = 3_000;

process.exitCode = await main();

async function main(): Promise<number> {
  const system = createSystem();
  let log: Logger | undefined;
  try {
    const { values } = parseArgs({ options: { state: { type: 'string' }, 'linger-ms': { type: 'string' } } });
    const lingerMs = Number(values['linger-ms'] ?? lingerMsDefault);
    if (!values.state || !(lingerMs >= 0)) {
      throw new HoldfastError('HF_USAGE', 'coordinator-main.ts --state <stateRoot> [--linger-ms <ms>]');
    }
    const paths = coordinationPaths(values.state);
    await prepareFolder(paths.folder);
    try {
      log = openCoordinatorLog(paths.log, system.clock);
    } catch (cause) {
      throw unusable(paths.log, cause, 'Make it a file that this user may write to, or move it away.');
    }
    const coordinator = await startCoordinator({ stateRoot: values.state, system, log, lingerMs });
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        log?.info({ signal }, 'asked to end');
        void coordinator.close();
      });
    }
    process.on('SIGHUP', () => {}); // its starter's terminal going away is no reason to end
    flushCompileCache(); // a killed process would leave no cache for the next start
    await coordinator.closed;
    log.info({ pid: process.pid }, 'coordinator ended');
    return EXIT.done;
  } catch (error) {
    return report(error, log);
  }
}

function report(error: unknown, log: Logger | undefined): number {
  const code = error instanceof HoldfastError ? error.code : 'HF_INTERNAL';
  const message = error instanceof Error ? error.message : String(error);
  if (code === 'HF_ALREADY_RUNNING') {
    log?.info({ pid: process.pid, code }, 'another coordinator serves this state folder');
    return EXIT.alreadyRunning;
  }
  log?.error({ pid: process.pid, code, reason: message }, 'the coordinator cannot go on');
  process.stderr.write(`${code} ${message}\n`);
  if (code === 'HF_USAGE') return EXIT.usage;
  return code === 'HF_STATE_UNUSABLE' ? EXIT.stateUnusable : EXIT.failed;
}
