/** Reads the cluster settings: JSON (comments allowed) → schema → names and cross-field checks → defaults → frozen. Pure. */
import { createHash } from 'node:crypto';
import { HoldfastError } from '../errors/holdfast-error.ts';
import { DEFAULTS, LIMITS } from '../limits.ts';
import { deepFreeze } from '../deep-freeze.ts';
import { describeProblem, PROBLEMS_MAX, type Problem } from '../problems.ts';
import { ownSchema } from '../validation.ts';
import { readablePasswords } from './coordination-checks.ts';
import { crossChecks, uriProblems } from './cross-checks.ts';
import { parseJsonText } from './json-text.ts';
import settingsSchema from './cluster-settings.schema.json' with { type: 'json' };
import type { ClusterSettings, InstanceSettings } from './model.ts';
import type { ClusterSettingsDocument } from './schema.ts';

type Instance = NonNullable<ClusterSettingsDocument['componentInstances']>[number];

export interface ParsedSettings {
  settings: ClusterSettings;
  /** Things to tell the user that are no errors, such as a misspelt name that was read all the same. */
  warnings: string[];
}

const validate = ownSchema(settingsSchema);

/**
 * @param knownPackages names of packages known besides `componentPackages` (the master's catalog); null skips that check
 * @throws HoldfastError HF_SETTINGS_INVALID with `details.problems`
 */
export function parseSettings(
  text: string,
  knownPackages: ReadonlySet<string> | null = null,
): ParsedSettings {
  if (Buffer.byteLength(text) > LIMITS.settingsBytesMax) {
    throw invalid([{ path: '$', expected: `at most ${LIMITS.settingsBytesMax} bytes of JSON` }]);
  }
  const parsed = parseJsonText(text);
  if (parsed.problems.length > 0) throw invalid(parsed.problems);
  const { document, warnings } = readMisspelling(parsed.document);
  const problems = validate(document);
  if (problems.length === 0) problems.push(...uriProblems(document as ClusterSettingsDocument));
  if (problems.length > 0) throw invalid(problems);
  const settings = fillDefaults(document as ClusterSettingsDocument);
  const crossProblems = crossChecks(settings, knownPackages);
  if (crossProblems.length > 0) throw invalid(crossProblems);
  warnings.push(...readablePasswords(settings));
  return { settings: deepFreeze(settings), warnings };
}

/** Strong ETag of a settings text. */
export function settingsEtag(text: string): string {
  return `"${createHash('sha256').update(text).digest('hex').slice(0, 32)}"`;
}

/** Only where the right name is absent; beside it, the misspelt one is an unknown key like any other. */
function readMisspelling(document: unknown): { document: unknown; warnings: string[] } {
  const wrong = 'componnetHostPackageName';
  const isObject = typeof document === 'object' && document !== null && !Array.isArray(document);
  if (!isObject || !(wrong in document) || 'componentHostPackageName' in document) {
    return { document, warnings: [] };
  }
  const { [wrong]: value, ...rest } = document;
  return {
    document: { ...rest, componentHostPackageName: value },
    warnings: [`$.${wrong} is misspelt; it is read as componentHostPackageName`],
  };
}

function fillSpares(spares: ClusterSettingsDocument['warmSpares']): ClusterSettings['warmSpares'] {
  const { perNode = 1, memoryMb = DEFAULTS.spareMemoryMb } =
    typeof spares === 'number' ? { perNode: spares } : (spares ?? {});
  return { perNode, memoryMb };
}

function fillDefaults(document: ClusterSettingsDocument): ClusterSettings {
  return {
    clusterName: document.clusterName,
    coordination: {
      kind: document.coordination?.kind ?? 'embedded',
      urls: document.coordination?.urls ?? [],
    },
    managers: document.managers ?? 1,
    syncIntervalMs: document.syncIntervalMs ?? DEFAULTS.syncIntervalMs,
    sessionTtlMs: document.sessionTtlMs ?? DEFAULTS.sessionTtlMs,
    holdMs: document.holdMs ?? Math.max(DEFAULTS.holdMs, (document.sessionTtlMs ?? 0) + 2_000),
    orphanGraceMs: document.orphanGraceMs ?? DEFAULTS.orphanGraceMs,
    warmSpares: fillSpares(document.warmSpares),
    rebalance: {
      threshold: document.rebalance?.threshold ?? 0.2,
      movesPerHour: document.rebalance?.movesPerHour ?? 60,
    },
    componentHostPackageName: document.componentHostPackageName ?? 'component-host',
    nodePackages: document.nodePackages ?? [],
    componentPackages: document.componentPackages ?? [],
    nodeServers: document.nodeServers.map(node => ({
      networkName: node.networkName,
      networkIp: node.networkIp ?? new URL(node.nodeApiUri).hostname,
      nodeApiUri: node.nodeApiUri.replace(/\/$/, ''),
      capacity: node.capacity ?? 16,
      labels: node.labels ?? {},
    })),
    componentInstances: (document.componentInstances ?? []).map(fillInstance),
    routes: (document.routes ?? []).map(route => ({
      pathPrefix: route.pathPrefix,
      componentInstanceId: route.componentInstanceId,
      resourceKey: { from: route.resourceKey?.from ?? 'path', segments: route.resourceKey?.segments ?? null },
    })),
  };
}

/** An instance with its defaults; also makes the instances that the manager implies (router). */
export function fillInstance(instance: Instance): InstanceSettings {
  const publisher = instance.messagePublisher;
  return {
    id: instance.id,
    packageName: instance.packageName,
    packageVersion: instance.packageVersion ?? null,
    instances: instance.instances ?? 1,
    settings: instance.settings ?? {},
    messagePublisher: publisher
      ? {
          packageName: publisher.packageName,
          packageVersion: publisher.packageVersion ?? null,
          settings: publisher.settings ?? {},
        }
      : null,
    constraints: {
      labels: instance.constraints?.labels ?? {},
      spread: instance.constraints?.spread ?? null,
      antiAffinity: instance.constraints?.antiAffinity ?? [],
    },
    resources: { memoryMb: instance.resources?.memoryMb ?? null, weight: instance.resources?.weight ?? 1 },
    restart: {
      maxAttempts: instance.restart?.maxAttempts ?? 5,
      windowMs: instance.restart?.windowMs ?? 60_000,
      backoffMs: instance.restart?.backoffMs ?? 200,
      backoffMaxMs: instance.restart?.backoffMaxMs ?? 10_000,
    },
    update: {
      strategy: instance.update?.strategy ?? 'rolling',
      maxUnavailable: instance.update?.maxUnavailable ?? 1,
      maxSurge: instance.update?.maxSurge ?? 1,
      canary: {
        instances: instance.update?.canary?.instances ?? 1,
        promoteAfterMs: instance.update?.canary?.promoteAfterMs ?? null,
      },
      healthyAfterMs: instance.update?.healthyAfterMs ?? 2_000,
      deadlineMs: instance.update?.deadlineMs ?? 60_000,
      autoRollback: instance.update?.autoRollback ?? true,
    },
    health: {
      livenessMs: instance.health?.livenessMs ?? DEFAULTS.livenessMs,
      http: instance.health?.http ? fillHttpCheck(instance.health.http) : null,
    },
    job: instance.job ? fillJob(instance.job) : null,
    env: instance.env ?? {},
    concurrency: instance.concurrency ?? 0,
    idleMs: instance.idleMs ?? 0,
    onAuthorityLoss: instance.onAuthorityLoss ?? 'stop',
    ports: instance.ports ?? [],
  };
}

function fillHttpCheck(
  check: NonNullable<NonNullable<Instance['health']>['http']>,
): NonNullable<InstanceSettings['health']['http']> {
  return {
    path: check.path ?? '/health',
    port: check.port ?? null,
    intervalMs: check.intervalMs ?? 2_000,
    timeoutMs: check.timeoutMs ?? 1_000,
    failuresMax: check.failuresMax ?? 3,
    restart: check.restart ?? false,
  };
}

function fillJob(job: NonNullable<Instance['job']>): NonNullable<InstanceSettings['job']> {
  return {
    cron: job.cron ?? null,
    timeZone: job.timeZone ?? 'UTC',
    timeoutMs: job.timeoutMs ?? 3_600_000,
    retries: job.retries ?? 0,
    misfire: job.misfire ?? 'once',
    historyMax: job.historyMax ?? 50,
  };
}

function invalid(all: Problem[]): HoldfastError {
  const problems = all.slice(0, PROBLEMS_MAX);
  return new HoldfastError(
    'HF_SETTINGS_INVALID',
    `The settings are not valid: ${problems.map(describeProblem).join('; ')}`,
    {
      details: { problems },
    },
  );
}
