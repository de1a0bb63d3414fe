/**
 * Call it in a suite whose tests build on each other: after one that failed the others of the suite do not run. Mocha's own `bail` ends the
 * whole run, which then shows one failure where there may be ten.
 */
export function stepByStep(): void {
  let failed: string | null = null;
  beforeEach(() => {
    if (failed !== null) throw new Error(`not run, because an earlier step failed: ${failed}`);
  });
  afterEach(function () {
    if (this.currentTest?.state === 'failed') failed ??= this.currentTest.title;
  });
}
