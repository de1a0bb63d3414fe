/** The REST API of a host, as docs/api.md has it. Loaded when somebody first calls it. */
import {
  DEFAULTS,
  HoldfastError,
  redactSettings,
  type HostLaunch,
  type HostStatus,
  type Settings,
  type System,
} from '#core';
import { createApi, type Api } from '#http-api';
import type { HostControl, Role } from './control.ts';
import type { HostLogger } from './log.ts';
import { registerDeadLetterRoutes } from './messages/dead-letter-routes.ts';
import { createMetrics, type HostCounters } from './metrics.ts';
import { registerResourceRoutes } from './resource-routes.ts';
import type { RequestHandler } from './server.ts';
import { registerPackageRoutes } from './uploads.ts';
import type { Workload } from './workload.ts';

export interface HostApiOptions {
  launch: HostLaunch;
  system: System;
  log: HostLogger;
  control: HostControl;
  workload: Workload;
  counters: HostCounters;
  status: () => HostStatus;
  /** ISO 8601, UTC. */
  startedAt: string;
}

const base = '/api/componentHost';

/** Makes the API without a server of its own: the result handles one request. */
export async function createHostApi(options: HostApiOptions): Promise<RequestHandler> {
  const { launch, system, log, counters, status } = options;
  const app = await createApi({
    title: 'Holdfast component host',
    system,
    secret: launch.clusterSecret,
    logger: log,
    metrics: createMetrics({
      counters,
      status,
      guard: () => options.workload.guardMetrics,
      watching: () => options.workload.watching,
    }),
    notReady() {
      const { state, health } = status();
      if (state !== 'Started') return `the host is ${state}`;
      return health.ready ? null : (health.message ?? 'the component reports itself not ready');
    },
    async routes(routed) {
      registerHostRoutes(routed, options);
      registerServiceRoutes(routed, options.control);
      registerResourceRoutes(routed, options);
      registerDeadLetterRoutes(routed, () => options.workload.deadLetters);
      await registerPackageRoutes(routed, `${base}/packages`, options.control.packages);
    },
  });
  await app.ready();
  return (request, response) => app.routing(request, response);
}

function registerHostRoutes(app: Api, options: HostApiOptions): void {
  const { control } = options;
  app.get(
    `${base}/configuration`,
    { config: { scope: 'read' }, schema: { summary: 'State, packages and settings of this host' } as object },
    () => describeConfiguration(options),
  );
  app.post<{ Body: { graceMs?: number } | undefined }>(
    `${base}/shutdown`,
    {
      config: { scope: 'deploy' },
      schema: { summary: 'Stop gracefully and end the process' } as object,
    },
    (request, reply) => {
      const graceMs = request.body?.graceMs ?? DEFAULTS.stopGraceMs;
      if (!Number.isSafeInteger(graceMs) || graceMs < 0 || graceMs > 600_000) {
        throw invalidBody('$.graceMs', 'an integer from 0 to 600000');
      }
      void control.shutdown(graceMs);
      return reply.code(202).send(options.status());
    },
  );
}

function registerServiceRoutes(app: Api, control: HostControl): void {
  const put = (path: string, summary: string, run: (call: ServiceCall) => Promise<HostStatus>) =>
    app.put<{ Params: { packageName: string }; Body: unknown }>(
      `${base}/services/${path}`,
      { config: { scope: 'deploy' }, schema: { summary } as object },
      request => run({ packageName: request.params.packageName, body: request.body }),
    );

  put('start', 'Start publisher and component', () => control.start());
  put('stop', 'Stop component and publisher', () => control.stop());
  for (const [segment, role] of [
    ['component', 'component'],
    ['messagePublisher', 'publisher'],
  ] as const satisfies [string, Role][]) {
    put(`${segment}/:packageName/init`, `Load the ${role} with the settings in the body`, call =>
      control.initialise(role, call.packageName, settingsOf(call.body)),
    );
    put(`${segment}/:packageName/start`, `Start the ${role}`, call =>
      control.startRole(role, call.packageName),
    );
    put(`${segment}/:packageName/stop`, `Stop the ${role}`, call => control.stopRole(role, call.packageName));
  }
}

interface ServiceCall {
  packageName: string;
  body: unknown;
}

/** No body is as good as an empty object: the package's defaults. */
function settingsOf(body: unknown): Settings {
  if (body === undefined || body === null) return {};
  if (typeof body !== 'object' || Array.isArray(body)) throw invalidBody('$', 'an object with the settings');
  return body as Settings;
}

/** Secrets are hidden by the names of their keys: where a value came from is not known here any more. */
function describeConfiguration({ launch, workload, status, startedAt }: HostApiOptions) {
  const { component, publisher, profile } = workload;
  const now = status();
  return {
    processId: launch.processId,
    pid: process.pid,
    nodeName: launch.nodeName,
    startedAt,
    settingsId: profile?.settingsId ?? null,
    ...now,
    settings: component ? redactSettings(component.settings) : null,
    publisher:
      now.publisher && publisher ? { ...now.publisher, settings: redactSettings(publisher.settings) } : null,
  };
}

function invalidBody(path: string, expected: string): HoldfastError {
  return new HoldfastError('HF_REQUEST_INVALID', `the body is wrong: ${path} expected ${expected}`, {
    details: { in: 'body', problems: [{ path, expected }] },
  });
}
