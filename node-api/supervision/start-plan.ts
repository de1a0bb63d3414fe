/**
 * Everything about a start that can be known before a process exists: which packages, whether their files are sound,
 * whether the settings fit their schemas, whether the secrets are there. A start that cannot work fails here, with
 * nothing to undo.
 */
import {
  configure,
  DEFAULTS,
  type CoordinationAddress,
  HoldfastError,
  type HostConfiguration,
  type InstanceId,
  type Settings,
  type StartProcessRequest,
} from '#core';
import type { PackageStore, StoredPackage } from '#package-manager';
import { createSecretReader, type SecretReader } from './secrets.ts';

export interface StartPlan {
  role: 'host' | 'component';
  package: StoredPackage;
  hostPackage: StoredPackage;
  publisher: StoredPackage | null;
  instanceId: string;
  /** Null for an unconfigured host. Holds resolved secrets: hand it to the host and forget it. */
  configuration: HostConfiguration | null;
  /** The port that HTTP checks ask; null when there are none. */
  healthPort: number | null;
  redact: SecretReader['redact'];
}

export interface PlannerDeps {
  packages: PackageStore;
  stateRoot: string;
  hostPackageName: string;
  coordination: () => CoordinationAddress;
}

/** @throws HoldfastError HF_PACKAGE_NOT_FOUND, HF_PACKAGE_CORRUPT, HF_SETTINGS_INVALID, HF_START_FAILED */
export async function planStart(
  { packages, stateRoot, hostPackageName, coordination }: PlannerDeps,
  packageName: string,
  request: StartProcessRequest,
): Promise<StartPlan> {
  const wanted = await findPackage(packages, packageName, request.version);
  const { kind } = wanted.manifest;
  if (kind === 'publisher') {
    throw new HoldfastError(
      'HF_START_FAILED',
      `${packageName} is a publisher: it runs beside a component, as its messagePublisher`,
    );
  }
  const instanceId = request.instanceId ?? request.settingsId?.split('/')[0] ?? packageName;
  const secrets = createSecretReader(stateRoot);
  if (kind === 'host') {
    refuseConfiguration(packageName, request);
    const base = { role: 'host', package: wanted, hostPackage: wanted, publisher: null } as const;
    return { ...base, instanceId, configuration: null, healthPort: null, redact: secrets.redact };
  }
  const hostPackage = await findHostPackage(packages, hostPackageName, request.hostVersion);
  const publisher = request.messagePublisher
    ? await findPackage(
        packages,
        request.messagePublisher.packageName,
        request.messagePublisher.packageVersion,
      )
    : null;
  if (publisher && publisher.manifest.kind !== 'publisher') {
    throw settingsProblem(
      '$.messagePublisher.packageName',
      publisher.packageName,
      `a package of kind publisher, not ${publisher.manifest.kind}`,
    );
  }
  try {
    const sessionTtlMs = sessionTtlFor(coordination(), request.sessionTtlMs);
    const configuration = await configureInstance(secrets, {
      wanted,
      publisher,
      instanceId,
      sessionTtlMs,
      request,
    });
    return {
      role: 'component',
      package: wanted,
      hostPackage,
      publisher,
      instanceId,
      configuration,
      healthPort: healthPortOf(request, configuration.settings),
      redact: secrets.redact,
    };
  } catch (error) {
    throw secrets.redact(error);
  }
}

async function configureInstance(
  secrets: SecretReader,
  plan: {
    wanted: StoredPackage;
    publisher: StoredPackage | null;
    instanceId: string;
    sessionTtlMs: number;
    request: StartProcessRequest;
  },
): Promise<HostConfiguration> {
  const { wanted, publisher, instanceId, sessionTtlMs, request } = plan;
  const settings = await secrets.resolve(request.settings ?? {}, ['settings']);
  const env = await secrets.resolve(request.env ?? {}, ['env']);
  const publisherSettings = await secrets.resolve(request.messagePublisher?.settings ?? {}, [
    'messagePublisher',
    'settings',
  ]);
  return {
    settingsId: request.settingsId ?? '',
    instanceId: instanceId as InstanceId,
    component: reference(wanted),
    settings: configure(wanted.manifest, settings, '$.settings') as Settings,
    publisher: publisher && {
      ...reference(publisher),
      settings: configure(publisher.manifest, publisherSettings, '$.messagePublisher.settings') as Settings,
    },
    settingsChecked: true,
    env: env as Record<string, string>,
    sessionTtlMs,
    capacity: request.capacity ?? 1,
    concurrency: request.concurrency ?? 0,
    idleMs: request.idleMs ?? 0,
    onAuthorityLoss: request.onAuthorityLoss ?? 'stop',
    ...(request.health?.http ? { awaitsCheck: true as const } : {}),
    ...(request.job ? { job: request.job } : {}),
  };
}

/** @throws HoldfastError HF_SETTINGS_INVALID when there is a check, but no port to ask */
function healthPortOf({ health }: StartProcessRequest, settings: Settings): number | null {
  if (!health?.http) return null;
  const port = health.http.port ?? settings.port;
  if (typeof port === 'number' && Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  const path = health.http.port === null ? '$.settings.port' : '$.health.http.port';
  throw settingsProblem(path, port, 'the port that the component listens on, because health.http checks it');
}

/**
 * No session may outlive what a store that has forgotten waits for before it gives keys out again.
 * @throws HoldfastError HF_SETTINGS_INVALID
 */
function sessionTtlFor(store: CoordinationAddress, wanted: number | undefined): number {
  if (store.kind === 'embedded') return wanted ?? DEFAULTS.sessionTtlMs;
  if (wanted === undefined) return Math.min(DEFAULTS.sessionTtlMs, store.sessionTtlMs);
  if (wanted <= store.sessionTtlMs) return wanted;
  throw settingsProblem(
    '$.sessionTtlMs',
    wanted,
    `at most ${store.sessionTtlMs}, as the cluster was started with`,
  );
}

/** The stored package, its files checked against what was verified when it was installed. */
function findPackage(
  packages: PackageStore,
  name: string,
  version: string | undefined,
): Promise<StoredPackage> {
  return packages.verifyOne(name, packages.get(name, version).packageVersion);
}

/** The version asked for, or the current one. */
async function findHostPackage(
  packages: PackageStore,
  name: string,
  version: string | undefined,
): Promise<StoredPackage> {
  const found = version === undefined ? currentPackage(packages, name) : packages.get(name, version);
  if (!found) {
    throw new HoldfastError(
      'HF_PACKAGE_NOT_FOUND',
      `this node has no package ${name}, which runs components; upload it first`,
      { details: { packageName: name } },
    );
  }
  if (found.manifest.kind !== 'host') {
    throw new HoldfastError(
      'HF_START_FAILED',
      `${name} is of kind ${found.manifest.kind}, but must be a host`,
    );
  }
  return packages.verifyOne(name, found.packageVersion);
}

/** The version that starts use now, or null when there is no such package. */
export function currentPackage(packages: PackageStore, name: string): StoredPackage | null {
  return packages.list().find(item => item.packageName === name && item.current) ?? null;
}

/** An unconfigured host would drop these without a word. */
function refuseConfiguration(packageName: string, request: StartProcessRequest): void {
  for (const name of ['settings', 'messagePublisher', 'env', 'hostVersion'] as const) {
    if (request[name] !== undefined && Object.keys(request[name]).length > 0) {
      throw settingsProblem(
        `$.${name}`,
        undefined,
        `nothing: ${packageName} is a host and starts unconfigured; start a component package instead`,
      );
    }
  }
}

function settingsProblem(path: string, value: unknown, expected: string): HoldfastError {
  const shown = value === undefined ? '' : ` is ${JSON.stringify(value)},`;
  return new HoldfastError('HF_SETTINGS_INVALID', `${path}${shown} expected ${expected}`, {
    details: { problems: [{ path, ...(value === undefined ? {} : { value }), expected }] },
  });
}

function reference({ packageName, packageVersion, directory }: StoredPackage) {
  return { packageName, packageVersion, directory };
}
