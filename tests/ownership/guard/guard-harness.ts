/** Guards over the fake directory, under a clock that the test moves; what their component opened and closed. */
import assert from 'node:assert/strict';
import {
  createFakeSystem,
  HoldfastError,
  type Claim,
  type FakeSystem,
  type Resource,
  type ResourceDirectory,
  type ResourceHandler,
} from '#core';
import { createOwnershipGuard, type OwnershipGuard, type OwnershipGuardOptions } from '#ownership';
import { silentLog } from '../../../ownership/silent-log.ts';
import { createFakeDirectory, type FakeDirectory } from '../fake-directory.ts';
import { claim, host } from '../vocabulary.ts';

export const ttlMs = 3_000;

export class GuardHarness {
  readonly system: FakeSystem = createFakeSystem();
  readonly fake: FakeDirectory = createFakeDirectory(this.system);
  /** No call reaches the directory. */
  down = false;
  /** So many of the next calls of that name are carried out, but their answers get lost. */
  readonly answersToLose = new Map<string, number>();
  /** Calls by their names, in order. */
  readonly calls: string[] = [];
  readonly opened: Resource[] = [];
  readonly closed: string[] = [];
  readonly alarms: string[] = [];
  readonly directory: ResourceDirectory = this.#recorded();

  async start(name = 'h1', more: Partial<OwnershipGuardOptions> = {}): Promise<OwnershipGuard> {
    const guard = createOwnershipGuard({
      system: this.system,
      directory: this.directory,
      session: host(name, { ttlMs }),
      component: { openResource: async resource => this.open(resource) },
      log: silentLog,
      concurrency: 0,
      ...more,
    });
    await this.settle(guard.start());
    return guard;
  }

  /** What the component does by default. */
  open(resource: Resource): ResourceHandler {
    this.opened.push(resource);
    return {
      fetch: () => new Response('hello'),
      alarm: async () => void this.alarms.push(resource.key),
      close: async () => void this.closed.push(resource.key),
    };
  }

  claim(name: string): Promise<Claim> {
    return this.settle(claim(this.directory, name));
  }

  ask(guard: OwnershipGuard, held: Claim): Promise<string> {
    return this.settle(
      guard.serve(held, async handler => (await handler.fetch(new Request('http://h/'))).text()),
    );
  }

  /** A claimed key that is open. */
  async ready(guard: OwnershipGuard, name: string): Promise<Claim> {
    const held = await this.claim(name);
    await this.ask(guard, held);
    return held;
  }

  /** A request that runs until `finish` is called. */
  slow(
    guard: OwnershipGuard,
    held: Claim,
  ): { answer: Promise<string>; finish: () => void; owned: () => boolean } {
    const gate = Promise.withResolvers<void>();
    let resource: Resource | null = null;
    const answer = guard.serve(held, async (_handler, own) => {
      resource = own;
      await Promise.race([
        gate.promise,
        new Promise(resolve => own.signal.addEventListener('abort', resolve)),
      ]);
      return own.signal.aborted ? 'broken off' : 'finished';
    });
    const owned = () => {
      try {
        assert(resource, 'not begun');
        resource.assertOwned();
        return true;
      } catch (error) {
        assert(error instanceof HoldfastError);
        return false;
      }
    };
    return { answer, finish: gate.resolve, owned };
  }

  /** Runs the clock until the promise settles, at most for a minute of fake time. */
  async settle<T>(promise: Promise<T>): Promise<T> {
    let open = true;
    const done = () => (open = false);
    promise.then(done, done);
    for (let count = 0; open && count < 6_000; count++) await this.system.advance(count < 20 ? 0 : 10);
    assert(!open, 'did not settle');
    return promise;
  }

  count(call: string): number {
    return this.calls.filter(name => name === call).length;
  }

  #recorded(): ResourceDirectory {
    const port = this.fake.port({ delayMs: () => (this.down ? null : 0) });
    const recorded = (name: string, call: (...all: unknown[]) => unknown) =>
      async function (this: GuardHarness, ...args: unknown[]) {
        this.calls.push(name);
        const answer = await call(...args);
        const toLose = this.answersToLose.get(name) ?? 0;
        if (toLose === 0) return answer;
        this.answersToLose.set(name, toLose - 1);
        throw new HoldfastError('HF_COORDINATION_UNAVAILABLE', 'the answer got lost');
      }.bind(this);
    return Object.fromEntries(
      Object.entries(port).map(([name, call]) => [
        name,
        recorded(name, call as (...all: unknown[]) => unknown),
      ]),
    ) as unknown as ResourceDirectory;
  }
}
