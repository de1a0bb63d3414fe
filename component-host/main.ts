/**
 * The process of a component host. Everything it must know comes as one line on standard input; what happens to the
 * process (signals, defects, the exit) is decided here and nowhere else.
 *
 * Exit codes: 0 after a graceful end, 1 after a defect (the agent starts it again), 2 when it was started wrongly.
 */
import { flushCompileCache } from 'node:module';
import { createSystem, DEFAULTS, type HostLaunch } from '#core';
import { startHost, type Host } from './host.ts';
import { readLaunch } from './launch.ts';
import { warmUpWhenIdle } from './warm-up.ts';
import { startWatchdog } from './watchdog.ts';

const launchTimeoutMs = 10_000;
/** What a component left running is given to end by itself before the process ends it. */
const leftoversMs = 500;

const system = createSystem();

async function main(): Promise<void> {
  let launch: HostLaunch;
  let host: Host;
  try {
    launch = await readLaunch(process.stdin, system, launchTimeoutMs);
    process.stdin.destroy();
  } catch (error) {
    return fail(`this process is started by a Holdfast agent: ${textOf(error)}`, 2);
  }
  try {
    host = await startHost({ launch, system, startWatchdog, endProcess });
  } catch (error) {
    return fail(`the component host could not start: ${textOf(error)}`, 1);
  }
  watchProcess(host);
  // A process that is killed writes no cache; the next one shall start fast all the same.
  system.timers.after(0, () => flushCompileCache());
  warmUpWhenIdle(system, () => host.status().state === 'AwaitingConfiguration');
  await host.ended;
  system.timers.after(leftoversMs, () => {
    process.stderr.write(`ended with leftovers: ${process.getActiveResourcesInfo().join(', ')}\n`);
    process.exit(0);
  });
}

function watchProcess(host: Host): void {
  const onSignal = (signal: NodeJS.Signals) => {
    host.log.info({ signal }, 'signal received');
    void host.shutdown({ graceMs: DEFAULTS.stopGraceMs });
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);

  // Nothing can be said about the state of a process with a defect, so it ends; what it owned is taken over.
  const onDefect = (origin: string) => (error: unknown) => {
    host.abort();
    host.log.error({ err: error, origin }, 'the process ends because of a defect');
    process.exit(1);
  };
  process.on('uncaughtException', onDefect('uncaughtException'));
  process.on('unhandledRejection', onDefect('unhandledRejection'));
}

/** Everything that could be said has gone to its log; the agent sees the rest. */
function endProcess(reason: string): void {
  process.stderr.write(`the process ends: ${reason}\n`);
  process.exit(1);
}

function fail(message: string, code: number): void {
  process.stderr.write(`${message}\n`);
  process.exitCode = code;
  process.stdin.destroy();
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

await main();
