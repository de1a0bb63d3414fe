/** The packed component in two component hosts, with the leases of a real coordinator. */
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import AdmZip from 'adm-zip';
import { packFolder } from '#cli';
import type { Host } from '#component-host';
import type { Status } from '../../../components/database-replication/status.ts';
import {
  configuration,
  eventually,
  openWorkspace,
  routed,
  type Workspace,
} from '../../component-host/workspace.ts';
import { componentFolder, configured, openFile, sqliteRows } from './harness.ts';

describe('database-replication: packed, in component hosts', function () {
  this.timeout(120_000);
  let workspace: Workspace;
  let databases: DatabaseSync[];

  beforeEach(async () => {
    workspace = await openWorkspace();
    databases = [];
  });
  afterEach(async () => {
    for (const database of databases) database.close();
    await workspace.close();
  });

  it('replicates in one of them, tells so from both, and goes on in the other when that one stops', async () => {
    const installed = join(workspace.directory, 'installed');
    await mkdir(installed);
    const { zipPath } = await packFolder(componentFolder, { outDirectory: workspace.directory });
    new AdmZip(zipPath).extractAllTo(installed);
    const files = ['source', 'target'].map(name => join(workspace.directory, `${name}.sqlite`));
    databases = files.map(openFile);
    const [source, target] = databases as [DatabaseSync, DatabaseSync];
    for (const database of databases) database.exec('CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)');
    source.exec(`INSERT INTO notes VALUES (1, 'first')`);
    const settings = await configured({
      name: 'notes',
      source: { kind: 'sqlite', file: files[0] },
      target: { kind: 'sqlite', file: files[1] },
      tables: ['notes'],
      pollMs: 20,
    });

    const component = { packageName: 'database-replication', packageVersion: '1.0.0', directory: installed };
    const hosts: Host[] = [];
    for (let index = 0; index < 2; index++) {
      const host = await workspace.host();
      await host.configure(configuration('', settings, { component }));
      await host.start();
      hosts.push(host);
    }
    const status = async (host: Host): Promise<Status> =>
      JSON.parse((await routed(workspace, host, '/notes-copy')).text) as Status;
    const texts = () => sqliteRows(target, 'SELECT text FROM notes ORDER BY id').join();
    await eventually(() => texts() === 'first', 'the first row', 60_000);

    const owner = await eventually(
      async () => {
        const roles = await Promise.all(hosts.map(status));
        const place = roles.findIndex(one => one.role === 'owner' && one.phase === 'following');
        const other = roles[1 - place];
        return place >= 0 && other?.role === 'standby' && other.owner === roles[place]!.owner
          ? { place }
          : null;
      },
      'one owner that both know',
      60_000,
    );
    await hosts[owner.place]!.shutdown({ graceMs: 5_000 });
    source.exec(`INSERT INTO notes VALUES (2, 'second')`);
    await eventually(() => texts() === 'first,second', 'the row that the other one copied', 60_000);
    const after = await status(hosts[1 - owner.place]!);
    assert.deepEqual([after.role, after.conflicts, after.error], ['owner', 0, null]);
    assert.equal(hosts[1 - owner.place]!.status().health.ready, true);
  });
});
