/** `holdfast dead-letters` against a real host; the node manager, which only says where the host is, is stood in for. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Host } from '#component-host';
import type { DeadLetter, Message } from '#core';
import createLocal from '../../publishers/local/main.ts';
import { runProgram } from '../../cli/program.ts';
import {
  clusterSecret,
  configuration,
  fixture,
  openWorkspace,
  system,
  type Workspace,
} from '../component-host/workspace.ts';
import { until } from '../support/wait.ts';

describe('holdfast dead-letters', function () {
  this.timeout(60_000);
  let workspace: Workspace;
  let host: Host;
  let master: Server;
  let options: string[];

  beforeEach(async () => {
    workspace = await openWorkspace();
    host = await workspace.host();
    const publisher = { ...fixture('local-publisher'), settings: {} };
    await host.configure(
      configuration('recipient', { journal: workspace.journal, keyed: false }, { publisher }),
    );
    await host.start();
    master = createServer((_, response) => {
      const component = {
        packageName: 'recipient',
        packageVersion: '1.0.0',
        instanceId: 'pool',
        state: 'Started',
      };
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify([{ processId: 'p', component, hostUri: host.uri }]));
    });
    await once(master.listen(0, '127.0.0.1'), 'listening');
    const tokenFile = join(workspace.directory, 'token');
    await writeFile(tokenFile, clusterSecret);
    const { port } = master.address() as AddressInfo;
    options = ['--uri', `http://127.0.0.1:${port}`, '--token-file', tokenFile];
  });
  afterEach(async () => {
    master.closeAllConnections();
    master.close();
    await workspace.close();
  });

  async function run(...words: string[]): Promise<string> {
    let output = '';
    const write = (text: string) => (output += text);
    await runProgram(['dead-letters', ...words, ...options], {
      system,
      interruptions: { onInterrupt: () => () => {} } as never,
      cwd: workspace.directory,
      stdout: { write },
      stderr: { write },
    });
    return output;
  }

  const list = async () => JSON.parse(await run('list', 'pool', '--json')) as DeadLetter[];
  const failing = (number: number, times: number): Message => ({
    messageId: `m-${number}`,
    source: 'test',
    timestamp: '2026-01-01T00:00:00.000Z',
    messageType: 'work',
    content: String(number),
    properties: { fail: String(times) },
  });

  it('lists, replays and removes what an instance could not handle', async () => {
    assert.equal(await run('list', 'pool'), 'pool has no dead letters\n');
    const outside = createLocal({
      name: 'local-publisher',
      instanceId: 'outside',
      processId: 'test',
      nodeName: 'node-1',
      settings: {
        directory: '../.messages',
        messagesMax: 1e6,
        fileBytesMax: 1e9,
        deadLettersMax: 100,
        sync: false,
      },
      log: { debug() {}, info() {}, warn() {}, error() {} },
      dataDirectory: join(workspace.directory, 'data/outside'),
    });
    await outside.start();
    try {
      for (const number of [1, 2, 3]) await outside.publish(failing(number, 1_000));
      const letters = await until('they are dead letters', async () => {
        const found = await list();
        return found.length === 3 && found;
      });
      assert.match(await run('list', 'pool'), /ID +FAILED[^]+work +m-1 +told to fail/);
      assert.equal(await run('remove', 'pool', letters[0]!.id), '1 removed\n');
      await assert.rejects(run('remove', 'pool', letters[0]!.id), { code: 'HF_NOT_FOUND' });
      assert.equal(await run('replay', 'pool', '--all'), '2 replayed\n');
      const again = await until('they have failed again', async () => {
        const found = await list();
        return found.length === 2 && found;
      });
      assert(again.every(({ id }) => !letters.some(letter => letter.id === id)));
      await assert.rejects(run('replay', 'pool'), { code: 'HF_USAGE' });
      await assert.rejects(run('list', 'nobody'), { code: 'HF_PROCESS_NOT_FOUND' });
    } finally {
      await outside.stop();
    }
  });
});
