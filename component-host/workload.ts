/**
 * What runs in the host: the loaded packages and, part by part, what they became. Brings parts up and down when the
 * lifecycle says so, and decides nothing about order itself. Each start makes new objects from the loaded packages.
 */
import {
  HoldfastError,
  type Component,
  type Coordination,
  type DeadLetters,
  type HostConfiguration,
  type HostLaunch,
  type HostStatus,
  type InstanceId,
  type JobRunRequest,
  type JobRunStatus,
  type MessagePublisher,
  type System,
} from '#core';
import type { GuardMetrics, OwnershipGuard } from '#ownership';
import type { Calls } from './calls/calls.ts';
import { createAbsentPublisher, createComponentContext, createPublisherContext } from './context.ts';
import { aborted } from './deadline.ts';
import type { DataPlane, Serving } from './data-plane.ts';
import { createEnvironment } from './environment.ts';
import { foreign, mustHave } from './foreign.ts';
import type { PartRunner } from './lifecycle.ts';
import { createHealthRecord } from './health.ts';
import { startJob, waitingFor, type Job } from './job.ts';
import { loadComponent, loadPublisher, type LoadedComponent, type LoadedPublisher } from './loader.ts';
import type { Part } from './machine.ts';
import type { Profile } from './profile.ts';
import type { HostLogger } from './log.ts';
import { mustKeepDeadLetters } from './messages/dead-letter-routes.ts';
import { deliveryMark } from './messages/delivery-request.ts';
import { withMessages } from './messages/owner-side.ts';
import { createSubscriptions, type Subscriptions } from './messages/subscriptions.ts';
import { tracing } from './messages/trace.ts';
import type { StartWatchdog, Watchdog } from './watchdog.ts';

export interface WorkloadOptions {
  system: System;
  launch: HostLaunch;
  log: HostLogger;
  hostUri: () => string;
  startWatchdog?: StartWatchdog;
  /** Ends the process at once, where it is the host's alone. */
  endProcess?: (reason: string) => void;
  /** Loads what answers the router; called when a component that answers HTTP starts. */
  dataPlane: () => Promise<DataPlane>;
  /** Health or the number of owned keys changed. */
  onChange: () => void;
}

export class Workload implements PartRunner {
  readonly #options: WorkloadOptions;
  readonly #setEnvironment = createEnvironment(process.env);
  #profile: Profile | null = null;
  #component: LoadedComponent | null = null;
  #publisher: LoadedPublisher | null = null;
  readonly #health = createHealthRecord();

  #runningPublisher: MessagePublisher | null = null;
  #coordination: Coordination | null = null;
  #runningComponent: Component | null = null;
  #subscriptions: Subscriptions | null = null;
  #dataPlane: DataPlane | null = null;
  #guard: OwnershipGuard | null = null;
  #watchdog: Watchdog | null = null;
  #calls: Calls | null = null;
  /** Once in the life of this process: another start does not run it again. */
  #job: Job | null = null;

  constructor(options: WorkloadOptions) {
    this.#options = options;
  }

  get profile(): Profile | null {
    return this.#profile;
  }
  get component(): LoadedComponent | null {
    return this.#component;
  }
  get publisher(): LoadedPublisher | null {
    return this.#publisher;
  }
  get publisherState(): string {
    return this.#runningPublisher?.state ?? 'stopped';
  }
  get health(): HostStatus['health'] {
    return this.#health.now;
  }
  /** Of the run that the host was configured for; null for what is no job. */
  get job(): JobRunStatus | null {
    const request = this.#profile?.job;
    return this.#job?.status ?? (request ? waitingFor(request) : null);
  }
  /** @throws HoldfastError when the publisher keeps none */
  get deadLetters(): DeadLetters {
    return mustKeepDeadLetters(this.#runningPublisher);
  }
  get ownedKeys(): number {
    return this.#guard?.ownedKeys ?? 0;
  }
  /** Null while nothing is served. */
  get guardMetrics(): Readonly<GuardMetrics> | null {
    return this.#guard?.metrics ?? null;
  }

  get watching(): boolean {
    return this.#watchdog?.watching ?? false;
  }
  /** @throws HoldfastError HF_WRONG_STATE while nothing is served */
  get guard(): OwnershipGuard {
    if (this.#guard) return this.#guard;
    throw new HoldfastError('HF_WRONG_STATE', 'the host owns nothing: its component is not started');
  }

  /** What the data plane serves from, while there is a session. */
  serving(): Serving | null {
    const [component, guard, calls] = [this.#runningComponent, this.#guard, this.#calls];
    const sessionId = guard?.session?.sessionId;
    if (!component || !guard || !calls || !sessionId) return null;
    return { component, guard, incoming: calls.incoming, sessionId };
  }

  /** Replaces what is loaded, all or nothing. `undefined` keeps the part that is there. */
  async load(change: {
    profile: Profile;
    component?: Pick<HostConfiguration, 'component' | 'settings'>;
    publisher?: HostConfiguration['publisher'];
    /** The settings are complete and right. */
    checked?: boolean;
  }): Promise<void> {
    const { checked = false } = change;
    this.#setEnvironment(change.profile.env); // modules may read it when they are loaded
    try {
      const publisher =
        change.publisher === undefined
          ? this.#publisher
          : change.publisher && (await loadPublisher(change.publisher, change.publisher.settings, checked));
      const component = change.component
        ? await loadComponent(change.component.component, change.component.settings, checked)
        : this.#component;
      this.#profile = change.profile;
      this.#publisher = publisher;
      this.#component = component;
    } catch (error) {
      this.#setEnvironment(this.#profile?.env ?? {});
      throw error;
    }
  }

  async up(part: Part, signal: AbortSignal): Promise<void> {
    switch (part) {
      case 'publisher':
        return this.#startPublisher();
      case 'coordination':
        return this.#connect();
      case 'component':
        return this.#startComponent(signal);
      case 'subscriptions':
        return this.#openSubscriptions();
      case 'session':
        return this.#openSession();
    }
  }

  async down(part: Part, signal: AbortSignal): Promise<void> {
    switch (part) {
      case 'session':
        return this.#closeSession(signal);
      case 'subscriptions':
        return this.#subscriptions?.close();
      case 'component': {
        const component = this.#runningComponent;
        this.#runningComponent = null;
        try {
          await component?.stop(signal);
        } finally {
          await this.#endCalls();
        }
        return;
      }
      case 'coordination': {
        const coordination = this.#coordination;
        this.#coordination = null;
        return coordination?.close();
      }
      case 'publisher': {
        const publisher = this.#runningPublisher;
        this.#runningPublisher = null;
        return publisher?.stop();
      }
    }
  }

  /** Resolves when nothing is open any more of a session that was lost. */
  async letGo(): Promise<void> {
    await this.#guard?.letGo();
  }

  /** What the agent's checks say of the component. */
  checked(verdict: { ok: boolean; message?: string }): void {
    this.#health.checked(verdict);
    this.#tellHealth();
  }

  /** For the end of the process: nothing is served from here on, whatever still runs. */
  abort(): void {
    this.#guard?.abort();
  }

  get #instanceId(): InstanceId {
    return this.#profile!.instanceId;
  }

  async #startPublisher(): Promise<void> {
    const publisher = this.#publisher;
    if (!publisher) return;
    const { launch } = this.#options;
    const log = this.#options.log.child({ package: publisher.manifest.packageName });
    const running = await foreign('create of the publisher', async () =>
      publisher.create(createPublisherContext({ launch, instanceId: this.#instanceId, log, publisher })),
    );
    mustHave(running, ['start', 'stop', 'publish'], publisher.manifest.packageName);
    this.#runningPublisher = running;
    await foreign('start of the publisher', () => running.start());
  }

  async #connect(): Promise<void> {
    const { system, launch, log } = this.#options;
    const { connectCoordination } = await import('#ownership');
    this.#coordination = await connectCoordination(launch.coordination, { system, log });
  }

  async #startComponent(signal: AbortSignal): Promise<void> {
    const component = this.#component!;
    const { launch } = this.#options;
    const log = this.#options.log.child({ package: component.manifest.packageName });
    const subscriptions = createSubscriptions();
    this.#subscriptions = subscriptions;
    this.#health.begin(this.#profile!.awaitsCheck === true);
    const calls = await this.#createCalls();
    const publisher = this.#runningPublisher;
    const context = createComponentContext({
      launch,
      instanceId: this.#instanceId,
      log,
      component,
      publisher: publisher ? tracing(publisher) : createAbsentPublisher(this.#instanceId),
      coordination: this.#coordination!,
      resource: (instanceId, key) => calls.resource(instanceId, key),
      subscribe: (messageType, options) => subscriptions.add(messageType, options),
      reportHealth: health => {
        this.#health.reported(health);
        this.#tellHealth();
      },
    });
    const running = await foreign('create of the component', async () => component.create(context));
    mustHave(running, ['start', 'stop'], component.manifest.packageName);
    if (this.#profile!.job)
      mustHave(running, ['run'], `${component.manifest.packageName}, configured as a job,`);
    const keyed = () => subscriptions.keyed;
    this.#runningComponent = publisher
      ? withMessages({ component: running, mark: this.#mark, keyed })
      : running;
    if (running.fetch || running.upgrade || running.openResource)
      this.#dataPlane = await this.#options.dataPlane();
    await foreign('start of the component', () => running.start(signal));
  }

  async #openSubscriptions(): Promise<void> {
    const { system, launch, log } = this.#options;
    await this.#subscriptions!.open({
      system,
      log,
      component: this.#runningComponent!,
      publisher: this.#runningPublisher,
      instanceId: this.#instanceId,
      processId: launch.processId,
      leases: this.#coordination!.leases,
      resource: (instanceId, key) => this.#calls!.resource(instanceId, key),
      mark: this.#mark,
    });
  }

  get #mark(): string {
    return deliveryMark(this.#options.launch.clusterSecret, this.#instanceId);
  }

  async #createCalls(): Promise<Calls> {
    const { system, launch, log } = this.#options;
    const { createCalls } = await import('./calls/calls.ts');
    await this.#endCalls(); // those of a start that failed
    this.#calls = createCalls({
      system,
      log,
      coordination: this.#coordination!,
      clusterSecret: launch.clusterSecret,
      processId: launch.processId,
      pool: this.#instanceId,
      concurrency: this.#profile!.concurrency,
    });
    return this.#calls;
  }

  async #endCalls(): Promise<void> {
    const calls = this.#calls;
    this.#calls = null;
    await calls?.stop();
  }

  async #openSession(): Promise<void> {
    const { system, launch, log, hostUri, onChange } = this.#options;
    const [{ createOwnershipGuard }, { createTeller }] = await Promise.all([
      import('#ownership'),
      import('./opening-ahead.ts'),
    ]);
    const component = this.#runningComponent!;
    const profile = this.#profile!;
    const watchdog = this.#createWatchdog(component, profile);
    const guard = createOwnershipGuard({
      system,
      directory: this.#coordination!.directory,
      session: {
        pool: profile.instanceId,
        processId: launch.processId,
        nodeName: launch.nodeName,
        address: hostUri(),
        ownsResources: component.openResource !== undefined && !profile.job,
        capacity: profile.capacity,
        ttlMs: profile.sessionTtlMs,
      },
      component,
      log,
      concurrency: profile.concurrency,
      idleMs: profile.idleMs,
      onAuthorityLoss: profile.onAuthorityLoss,
      onChange() {
        if (guard.ownedKeys > 0) watchdog?.begin();
        onChange();
      },
      onGiveUp: key => this.#dataPlane?.leave(key),
      onHandedOver: createTeller({ system, clusterSecret: launch.clusterSecret, log }),
      onDeadline: end => watchdog?.deadline(end),
    });
    this.#guard = guard;
    this.#watchdog = watchdog;
    await guard.start();
    if (!this.#health.now.ready) guard.setReady(false);
    if (component.openResource) this.#calls!.startAlarms();
    if (profile.job) this.#job ??= this.#startJob(component, profile, profile.job);
  }

  #startJob(component: Component, profile: Profile, request: JobRunRequest): Job {
    const { system, launch, log, onChange, endProcess } = this.#options;
    return startJob({
      system,
      log,
      leases: this.#coordination!.leases,
      documents: this.#coordination!.documents,
      run: component.run!.bind(component),
      request,
      instanceId: profile.instanceId,
      holder: launch.processId,
      leaseTtlMs: profile.sessionTtlMs,
      onChange,
      endProcess: reason => endProcess?.(reason),
    });
  }

  async #closeSession(signal: AbortSignal): Promise<void> {
    const guard = this.#guard;
    try {
      await this.#job?.stop(signal);
      await this.#calls?.stopAlarms();
      await guard?.drain(signal);
      // Answers of components that own nothing are not the guard's to count.
      await Promise.race([this.#dataPlane?.idle(), aborted(signal)]);
    } finally {
      this.#watchdog?.stop();
      this.#watchdog = null;
      this.#guard = null;
      this.#dataPlane = null;
    }
  }

  /** Only where there is something to lose, and the deadline is the end: with `serveFenced` it is not. */
  #createWatchdog(component: Component, profile: Profile): Watchdog | null {
    if (!component.openResource || profile.onAuthorityLoss === 'serveFenced') return null;
    const { startWatchdog, system, log } = this.#options;
    return startWatchdog?.({ system, log }) ?? null;
  }

  #tellHealth(): void {
    this.#guard?.setReady(this.#health.now.ready);
    this.#options.onChange();
  }
}
