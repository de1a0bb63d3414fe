/**
 * mocha's usual output, and besides, for whoever runs mocha (`.ci/run`), the counts as JSON in the file that
 * HOLDFAST_TEST_RESULT names. It is written at exit, so that a run that breaks off is not taken for a complete one.
 */
import { writeFileSync } from 'node:fs';
import Mocha from 'mocha';

export default class ResultReporter extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    const path = process.env.HOLDFAST_TEST_RESULT;
    if (!path) return;
    delete process.env.HOLDFAST_TEST_RESULT; // not meant for processes that the tests start
    let complete = false;
    runner.once('end', () => (complete = true));
    process.once('exit', () => {
      const { passes, failures, pending } = this.stats;
      writeFileSync(path, JSON.stringify({ passed: passes, failed: failures, pending, complete }));
    });
  }
}
