/** Real coordinators for tests: a state folder, the process itself, and clients of it; all gone after `stop`. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connectChannel } from '#channel';
import { createSystem, type Coordination } from '#core';
import { connectCoordination, coordinationAddress, type ConnectOptions } from '#ownership';
import { until } from '../leases/conformance.ts';

export const system = createSystem();
const main = fileURLToPath(new URL('../../ownership/embedded/coordinator-main.ts', import.meta.url));

export class CoordinatorHarness {
  readonly stateRoot: string;
  readonly address: ReturnType<typeof coordinationAddress>;
  /** Coordinator processes started here, newest last. */
  readonly processes: ChildProcess[] = [];
  readonly #clients: Coordination[] = [];

  private constructor(stateRoot: string) {
    this.stateRoot = stateRoot;
    this.address = coordinationAddress(stateRoot);
  }

  static async create(): Promise<CoordinatorHarness> {
    return new CoordinatorHarness(await mkdtemp(join(tmpdir(), 'hf-coord-')));
  }

  /** Starts the process without waiting for it. */
  spawn(...more: string[]): ChildProcess {
    const child = spawn(process.execPath, [main, '--state', this.stateRoot, ...more], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.processes.push(child);
    return child;
  }

  /** Starts the process and waits until it answers. */
  async start(...more: string[]): Promise<ChildProcess> {
    const child = this.spawn(...more);
    await until(async () => {
      assert.equal(child.exitCode, null, 'the coordinator ended at its start');
      return this.answers();
    });
    return child;
  }

  async answers(): Promise<boolean> {
    try {
      const channel = await connectChannel(this.address.socketPath);
      channel.listen();
      await channel.request('ping', {}).finally(() => channel.close());
      return true;
    } catch {
      return false; // not yet
    }
  }

  async connect(options: Partial<ConnectOptions> = {}): Promise<Coordination> {
    const client = await connectCoordination(this.address, { system, ...options });
    this.#clients.push(client);
    return client;
  }

  /** Sends a signal to the newest coordinator. */
  signal(signal: NodeJS.Signals): void {
    this.processes.at(-1)!.kill(signal);
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.processes.at(-1)!;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }

  /** Kills the coordinator as hard as can be, and starts another. */
  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  /** Kills it, damages its file as a bad disk would, and starts another. */
  async forget(): Promise<void> {
    await this.kill();
    const database = join(this.stateRoot, 'coordination', 'coordination.sqlite');
    await rm(`${database}-wal`, { force: true });
    await writeFile(database, 'nonsense '.repeat(2_000));
    await this.start();
  }

  /** Closes all clients. */
  async disconnect(): Promise<void> {
    await Promise.all(this.#clients.splice(0).map(client => client.close()));
  }

  async stop(): Promise<void> {
    await this.disconnect();
    for (const child of this.processes) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    }
    await rm(this.stateRoot, { recursive: true, force: true, maxRetries: 5 });
  }
}
