import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { createSystem } from '#core';
import { checkPorts } from '../../cli/up/ports.ts';
import { openState, type State } from '../../cli/up/state.ts';
import { makeFolder, projectRoot, start, type Folder } from './helpers.ts';

describe('the state folder of up', function () {
  this.timeout(30_000);
  let folder: Folder;
  let root: string;
  let opened: State[] = [];
  beforeEach(() => {
    folder = makeFolder();
    root = join(folder.path, '.holdfast');
    opened = [];
  });
  afterEach(async () => {
    for (const state of opened) state.release();
    folder[Symbol.dispose]();
  });
  async function open(): Promise<State> {
    const state = await openState(root);
    opened.push(state);
    return state;
  }
  const modeOf = async (path: string) => (await stat(path)).mode & 0o777;

  it('is made private, with a token that is kept', async () => {
    const first = await open();
    assert.equal(await modeOf(root), 0o700);
    assert.equal(await modeOf(first.tokenPath), 0o600);
    assert.match(first.token, /^[A-Za-z0-9_-]{43}$/);
    assert.equal((await readFile(first.tokenPath, 'utf8')).trim(), first.token);
    assert.equal(first.crashed, false);
    first.release();
    const second = await open();
    assert.equal(second.token, first.token);
    assert.equal(second.crashed, false);
    assert.deepEqual(second.repairs, []);
  });

  it('lets one process in at a time, and the next when that has died, however', async () => {
    const code = `
      import { openState } from ${JSON.stringify(join(projectRoot, 'cli/up/state.ts'))};
      await openState(${JSON.stringify(root)});
      console.log('open');
      setInterval(() => {}, 1000);`;
    const other = start(process.execPath, ['--input-type=module', '--eval', code]);
    try {
      await other.prints('open');
      await assert.rejects(open(), (error: { code: string; message: string }) => {
        assert.equal(error.code, 'HF_ALREADY_RUNNING');
        assert.match(error.message, new RegExp(`pid ${other.child.pid}`));
        return true;
      });
    } finally {
      other.child.kill('SIGKILL');
      await other.ended;
    }
    const token = await readFile(join(root, 'token'));
    await writeFile(join(root, 'token'), '');
    await assert.rejects(open(), { code: 'HF_STATE_UNUSABLE' });
    await writeFile(join(root, 'token'), token);
    const next = await open();
    assert.equal(next.crashed, true, 'the one before did not come to its end');
    next.release();
    assert.equal((await open()).crashed, false);
  });

  it('refuses an empty or unreadable token and says how to mend it', async () => {
    await mkdir(root);
    for (const content of ['', ' \n', 'short', 'with.a.dot.and.long.enough']) {
      await writeFile(join(root, 'token'), content);
      await assert.rejects(open(), (error: { code: string; message: string }) => {
        assert.equal(error.code, 'HF_STATE_UNUSABLE');
        assert.match(error.message, /token.*remove the file/);
        return true;
      });
    }
  });

  it('closes what was open to others, and says so', async () => {
    await mkdir(root, { mode: 0o755 });
    await chmod(root, 0o755);
    await writeFile(join(root, 'token'), 'x'.repeat(20));
    await chmod(join(root, 'token'), 0o644);
    const { repairs } = await open();
    assert.equal(await modeOf(root), 0o700);
    assert.equal(await modeOf(join(root, 'token')), 0o600);
    assert.equal(repairs.length, 2);
  });

  it('refuses a file in its place', async () => {
    await writeFile(root, '');
    await assert.rejects(open(), { code: 'HF_STATE_UNUSABLE' });
  });
});

describe('the ports of up', () => {
  const system = createSystem();
  const { signal } = new AbortController();

  it('names every port that is taken and who needs it', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    try {
      await assert.rejects(
        checkPorts([{ host: '127.0.0.1', port, for: 'the router' }], {
          system,
          patienceMs: 0,
          signal,
          onWait() {},
        }),
        (error: { code: string; message: string }) => {
          assert.equal(error.code, 'HF_PORT_IN_USE');
          assert.match(error.message, new RegExp(`${port} .*the router`));
          return true;
        },
      );
    } finally {
      server.close();
    }
  });

  it('waits for a port that is about to be free', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    let waited = 0;
    await checkPorts([{ host: '127.0.0.1', port, for: 'x' }], {
      system,
      patienceMs: 20_000,
      signal,
      onWait() {
        waited++;
        server.close();
      },
    });
    assert.equal(waited, 1);
  });
});
