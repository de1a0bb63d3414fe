import assert from 'node:assert/strict';
import { join } from 'node:path';
import { projectRoot, start, type Running } from './helpers.ts';

const program = `
import { createSystem } from '#core';
import { watchInterruptions, TOGETHER_MS } from ${JSON.stringify(join(projectRoot, 'cli/interruption.ts'))};
const system = createSystem();
const interruptions = watchInterruptions({ system, lifelineFd: 0 });
if (!process.argv.includes('--at-once')) interruptions.takeOver();
interruptions.asked.addEventListener('abort', () => {
  console.log('asked');
  system.timers.after(TOGETHER_MS + 50, () => console.log('later'), { keepAlive: true });
});
interruptions.insisted.addEventListener('abort', () => { console.log('insisted'); process.exit(0); });
setInterval(() => {}, 1000);
console.log('running');
`;

describe('interruptions', function () {
  this.timeout(30_000);
  let running: Running;
  afterEach(async () => {
    running.child.kill('SIGKILL');
    await running.ended;
  });
  async function run(...words: string[]): Promise<void> {
    running = start(process.execPath, ['--input-type=module', '--eval', program, '--', ...words], {
      cwd: projectRoot,
    });
    await running.prints('running');
  }

  it('count signals that come together as one', async () => {
    await run();
    running.child.kill('SIGINT');
    running.child.kill('SIGINT');
    running.child.kill('SIGTERM');
    await running.prints('later');
    assert.doesNotMatch(running.stdout(), /insisted/);
    running.child.kill('SIGINT');
    await running.prints('insisted');
    assert.equal((await running.ended).code, 0);
  });

  it('end a command that does not take them over, as the signal would', async () => {
    await run('--at-once');
    running.child.kill('SIGTERM');
    assert.equal((await running.ended).code, 143);
  });
});
