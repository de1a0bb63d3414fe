/** The process behind `bin/holdfast`: reads the command line, runs one command, and turns its end into an exit code. */
import { createSystem } from '#core';
import { report } from './failure.ts';
import { watchInterruptions } from './interruption.ts';
import { runProgram } from './program.ts';

const verbose = process.argv.includes('--verbose');
const system = createSystem();
try {
  const lifelineFd = Number(process.env.HOLDFAST_LIFELINE_FD ?? 0);
  delete process.env.HOLDFAST_LIFELINE_FD; // ours alone: no child of this process has that pipe
  const interruptions = watchInterruptions({ system, lifelineFd });
  process.exitCode = await runProgram(process.argv.slice(2), {
    system,
    interruptions,
    cwd: process.cwd(),
    stdout: process.stdout,
    stderr: process.stderr,
  });
} catch (error) {
  process.exitCode = report(error, { stderr: process.stderr, verbose });
}
