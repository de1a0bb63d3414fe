/** The node manager in a process of its own for `scenarios/agents.ts`, on a coordination store in memory. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystem, settingsEtag, SETTINGS_DOCUMENT, type StoredSettings } from '#core';
import { createNodeManager } from '#node-manager';
import { createInMemoryCoordination } from '../../tests/support/in-memory-coordination.ts';
import { silentLogger } from '../../tests/node-manager/silence.ts';
import { answer } from './ipc.ts';

export type ManagerCommand =
  | { do: 'start'; secret: string; settings: string; deadAfterMs: number }
  /** CPU that this process has used, milliseconds. */
  | { do: 'cpu' }
  /** Forgets the folder. */
  | { do: 'end' };

const directory = await mkdtemp(join(tmpdir(), 'holdfast-bench-'));

await answer<ManagerCommand>(async command => {
  if (command.do === 'cpu') {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1_000;
  }
  if (command.do === 'end') return rm(directory, { recursive: true });
  const { secret, settings, deadAfterMs } = command;
  const coordination = createInMemoryCoordination();
  const stored: StoredSettings = {
    text: settings,
    updatedAt: new Date().toISOString(),
    updatedBy: 'bench',
    fileSha256: null,
  };
  await coordination.documents.put(SETTINGS_DOCUMENT, JSON.stringify(stored), null);
  const manager = createNodeManager(
    {
      processId: `manager-${settingsEtag(settings)}`,
      nodeName: 'node-1',
      log: silentLogger,
      dataDirectory: directory,
      reportHealth: () => {},
      cluster: {
        clusterName: 'bench',
        secret,
        coordination,
        address: { kind: 'embedded', socketPath: '/nowhere' },
      },
      settings: {
        host: '127.0.0.1',
        port: 0,
        leaseTtlMs: 5_000,
        livenessMs: 2_000,
        nodeTimeoutMs: 2_000,
        deadAfterMs,
        flapLosses: 3,
        flapWindowMs: 300_000,
        flapHoldMs: 60_000,
        startupGraceMs: 2_000,
        uploadBytesMax: 2 ** 20,
        rebalanceThreshold: 0.1,
        rebalanceMovesPerMinute: 0,
      },
    },
    createSystem(),
  );
  await manager.start(new AbortController().signal);
  return manager.uri();
});
