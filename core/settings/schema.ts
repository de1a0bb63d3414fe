/**
 * The shape of `cluster-settings.json`, as a JSON Schema from which the type is derived.
 * `core/settings/cluster-settings.schema.json` is generated from it (npm run generate:schemas), shipped for editors,
 * and what is read at runtime: loading typebox costs each process 100 ms.
 */
import Type, { type Static } from 'typebox';
import { COORDINATION_URLS_MAX } from '../coordination-address.ts';
import { DEFAULTS, LIMITS } from '../limits.ts';
import { IDENTIFIER_FORM, PACKAGE_NAME_FORM, VERSION_FORM } from '../patterns.ts';

const strict = { additionalProperties: false } as const;
const packageName = (description: string) => Type.String({ ...PACKAGE_NAME_FORM, description });
const version = Type.String({ ...VERSION_FORM, description: 'Semantic version, for example 1.2.0.' });
const identifier = (description: string) => Type.String({ ...IDENTIFIER_FORM, description });
const labels = Type.Record(Type.String(), Type.String({ maxLength: 128 }));
const port = Type.Integer({ minimum: 1, maximum: 65535 });
const secretReference = Type.Object(
  { secretRef: identifier('Name of a file in the state folder `secrets/` on the node.') },
  strict,
);

const PackageReference = Type.Object(
  {
    name: packageName('Name of the package.'),
    version,
    packagePath: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'ZIP file, relative to the settings file. May be left out for an uploaded package.',
      }),
    ),
  },
  strict,
);

const NodeServer = Type.Object(
  {
    networkName: identifier('Name of the node, unique in the cluster.'),
    networkIp: Type.Optional(Type.String({ minLength: 1 })),
    nodeApiUri: Type.String({
      pattern: '^https?://[^/?#@\\s]+/?$',
      patternErrorMessage: 'an http(s) URI without path, for example http://127.0.0.1:5101',
      description: 'Base URI of its node API.',
    }),
    capacity: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 10_000, default: 16, description: 'Sum of weights it may run.' }),
    ),
    labels: Type.Optional(labels),
  },
  strict,
);

const ComponentInstance = Type.Object(
  {
    id: identifier('Unique id; also the name of the pool that owns the keys.'),
    packageName: packageName('A component package.'),
    packageVersion: Type.Optional({ ...version, description: 'Default: the newest known version.' }),
    instances: Type.Optional(
      Type.Union([Type.Integer({ minimum: 0, maximum: 100_000 }), Type.Literal('perNode')], {
        default: 1,
        description: 'How many copies, or "perNode" for one on every node.',
      }),
    ),
    settings: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), {
        description: 'Checked against the package’s configurationSchema.',
      }),
    ),
    messagePublisher: Type.Optional(
      Type.Object(
        {
          packageName: packageName('A publisher package.'),
          packageVersion: Type.Optional(version),
          settings: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
        },
        strict,
      ),
    ),
    constraints: Type.Optional(
      Type.Object(
        {
          labels: Type.Optional(labels),
          spread: Type.Optional(
            Type.String({ minLength: 1, description: 'Label over which copies are spread evenly.' }),
          ),
          antiAffinity: Type.Optional(
            Type.Array(Type.String(), { description: 'Instances that must not share a node with this.' }),
          ),
        },
        strict,
      ),
    ),
    resources: Type.Optional(
      Type.Object(
        {
          memoryMb: Type.Optional(
            Type.Integer({ minimum: 16, description: 'Heap limit of the host process, MiB.' }),
          ),
          weight: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, default: 1 })),
        },
        strict,
      ),
    ),
    restart: Type.Optional(
      Type.Object(
        {
          maxAttempts: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000, default: 5 })),
          windowMs: Type.Optional(Type.Integer({ minimum: 1_000, default: 60_000 })),
          backoffMs: Type.Optional(
            Type.Integer({
              minimum: 0,
              default: 200,
              description: 'Wait after the second crash within the window; the first one costs none.',
            }),
          ),
          backoffMaxMs: Type.Optional(Type.Integer({ minimum: 0, default: 10_000 })),
        },
        strict,
      ),
    ),
    update: Type.Optional(
      Type.Object(
        {
          strategy: Type.Optional(
            Type.Union([Type.Literal('rolling'), Type.Literal('canary')], {
              default: 'rolling',
              description: '"canary": some copies first, the others after a promotion.',
            }),
          ),
          maxUnavailable: Type.Optional(Type.Integer({ minimum: 1, default: 1 })),
          maxSurge: Type.Optional(
            Type.Integer({
              minimum: 0,
              maximum: 1_000,
              default: 1,
              description:
                'Copies beyond the count while copies are replaced or moved; 0: the old one goes first.',
            }),
          ),
          canary: Type.Optional(
            Type.Object(
              {
                instances: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000, default: 1 })),
                promoteAfterMs: Type.Optional(
                  Type.Integer({
                    minimum: 0,
                    maximum: 2_592_000_000,
                    description: 'Promoted by itself after so long in good health; left out: by hand only.',
                  }),
                ),
              },
              { ...strict, description: 'Only with the strategy "canary".' },
            ),
          ),
          healthyAfterMs: Type.Optional(Type.Integer({ minimum: 0, default: 2_000 })),
          deadlineMs: Type.Optional(Type.Integer({ minimum: 1_000, default: 60_000 })),
          autoRollback: Type.Optional(Type.Boolean({ default: true })),
        },
        strict,
      ),
    ),
    health: Type.Optional(
      Type.Object(
        {
          livenessMs: Type.Optional(
            Type.Integer({
              minimum: 0,
              maximum: 3_600_000,
              default: DEFAULTS.livenessMs,
              description: 'A process whose event loop answers nothing for so long is replaced; 0: never.',
            }),
          ),
          http: Type.Optional(
            Type.Object(
              {
                path: Type.Optional(
                  Type.String({ pattern: '^/[^\\s#]*$', maxLength: 512, default: '/health' }),
                ),
                port: Type.Optional({ ...port, description: 'Default: `settings.port` of the copy.' }),
                intervalMs: Type.Optional(Type.Integer({ minimum: 100, maximum: 3_600_000, default: 2_000 })),
                timeoutMs: Type.Optional(Type.Integer({ minimum: 10, maximum: 60_000, default: 1_000 })),
                failuresMax: Type.Optional(
                  Type.Integer({
                    minimum: 1,
                    maximum: 1_000,
                    default: 3,
                    description: 'After so many failures in a row the copy counts as not ready.',
                  }),
                ),
                restart: Type.Optional(
                  Type.Boolean({ default: false, description: 'It is restarted then, besides.' }),
                ),
              },
              { ...strict, description: 'A check of a component that listens itself, on 127.0.0.1.' },
            ),
          ),
        },
        strict,
      ),
    ),
    job: Type.Optional(
      Type.Object(
        {
          cron: Type.Optional(
            Type.String({
              minLength: 1,
              maxLength: 128,
              description:
                'Five fields, or six with seconds in front. Left out: once, as soon as it is declared.',
            }),
          ),
          timeZone: Type.Optional(
            Type.String({ minLength: 1, maxLength: 64, default: 'UTC', description: 'IANA name.' }),
          ),
          timeoutMs: Type.Optional(
            Type.Integer({ minimum: 1_000, maximum: 604_800_000, default: 3_600_000 }),
          ),
          retries: Type.Optional(Type.Integer({ minimum: 0, maximum: 100, default: 0 })),
          misfire: Type.Optional(
            Type.Union([Type.Literal('skip'), Type.Literal('once')], {
              default: 'once',
              description: 'What to do about times that passed while no manager led, or a run was under way.',
            }),
          ),
          historyMax: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000, default: 50 })),
        },
        { ...strict, description: 'Runs to completion instead of for ever, one run at a time.' },
      ),
    ),
    env: Type.Optional(
      Type.Record(
        // Names that begin with HOLDFAST_ are the agent's.
        Type.String({ pattern: '^(?!HOLDFAST_)[A-Za-z_][A-Za-z0-9_]*$' }),
        Type.Union([Type.String(), secretReference]),
        strict,
      ),
    ),
    concurrency: Type.Optional(
      Type.Integer({ minimum: 0, default: 0, description: 'Requests served at once per key; 0: no bound.' }),
    ),
    idleMs: Type.Optional(
      Type.Integer({
        minimum: 0,
        default: 0,
        description: 'Closes a resource that nobody asked for so long; 0: never.',
      }),
    ),
    onAuthorityLoss: Type.Optional(
      Type.Union([Type.Literal('stop'), Type.Literal('serveFenced')], {
        default: 'stop',
        description:
          'While the coordination store is away past the deadline: stop serving, or let fenced resources go on.',
      }),
    ),
    ports: Type.Optional(
      Type.Array(port, {
        description: 'Ports for copies that listen themselves: copy i gets ports[i] as `settings.port`.',
      }),
    ),
  },
  strict,
);

const Route = Type.Object(
  {
    pathPrefix: Type.String({
      pattern: '^/(?:[^/?#\\s\\\\]+(?:/[^/?#\\s\\\\]+)*)?$',
      patternErrorMessage: 'a path that begins with /, has no empty segment and does not end with /',
      maxLength: 512,
      description: 'Matches on segment boundaries; the longest wins.',
    }),
    componentInstanceId: Type.String({ description: 'The instance that answers.' }),
    resourceKey: Type.Optional(
      Type.Object(
        {
          from: Type.String({
            pattern: '^(?:path|header:[A-Za-z0-9-]+)$',
            patternErrorMessage: '"path" or "header:<name>"',
            description: '"path" or "header:<name>".',
          }),
          segments: Type.Optional(
            Type.Integer({
              minimum: 1,
              maximum: 64,
              description: 'Only with "path": how many leading segments make the key. Default: all.',
            }),
          ),
        },
        { ...strict, description: 'Default: the whole path.' },
      ),
    ),
  },
  strict,
);

export const ClusterSettingsSchema = Type.Object(
  {
    $schema: Type.Optional(Type.String()),
    clusterName: identifier('Name of the cluster.'),
    coordination: Type.Optional(
      Type.Object(
        {
          kind: Type.Union([
            Type.Literal('embedded'),
            Type.Literal('redis'),
            Type.Literal('postgres'),
            Type.Literal('etcd'),
          ]),
          urls: Type.Optional(
            Type.Array(Type.Union([Type.String({ minLength: 1, maxLength: 2_048 }), secretReference]), {
              maxItems: COORDINATION_URLS_MAX,
              description:
                'With "redis": redis:// or rediss:// URLs. The first serves the directory, all serve leases; one with a password belongs into a secret.',
            }),
          ),
        },
        {
          ...strict,
          default: { kind: 'embedded' },
          description: 'Where the cluster keeps who owns what. Cannot be changed while it runs.',
        },
      ),
    ),
    managers: Type.Optional(Type.Integer({ minimum: 1, maximum: 3, default: 1 })),
    syncIntervalMs: Type.Optional(
      Type.Integer({ minimum: 100, maximum: 86_400_000, default: DEFAULTS.syncIntervalMs }),
    ),
    sessionTtlMs: Type.Optional(
      Type.Integer({
        minimum: LIMITS.sessionTtlMsMin,
        maximum: LIMITS.sessionTtlMsMax,
        default: DEFAULTS.sessionTtlMs,
      }),
    ),
    holdMs: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 600_000,
        default: DEFAULTS.holdMs,
        description: 'At least sessionTtlMs + 2000.',
      }),
    ),
    orphanGraceMs: Type.Optional(
      Type.Integer({ minimum: 1_000, maximum: 3_600_000, default: DEFAULTS.orphanGraceMs }),
    ),
    warmSpares: Type.Optional(
      Type.Union([
        Type.Integer({
          minimum: 0,
          maximum: 16,
          default: 1,
          description: 'Unconfigured hosts that each node keeps ready.',
        }),
        Type.Object(
          {
            perNode: Type.Optional(
              Type.Integer({
                minimum: 0,
                maximum: 16,
                default: 1,
                description:
                  'Unconfigured hosts that each node keeps ready, for each memoryMb that instances on it have.',
              }),
            ),
            memoryMb: Type.Optional(
              Type.Integer({
                minimum: 0,
                maximum: 1_000_000,
                default: DEFAULTS.spareMemoryMb,
                description:
                  'What they may take together on a node; there are fewer when it does not suffice.',
              }),
            ),
          },
          { additionalProperties: false },
        ),
      ]),
    ),
    rebalance: Type.Optional(
      Type.Object(
        {
          threshold: Type.Optional(
            Type.Number({
              minimum: 0,
              maximum: 10,
              default: 0.2,
              description:
                'How far a node may be from its share of the load, as a fraction of it, before copies move.',
            }),
          ),
          movesPerHour: Type.Optional(
            Type.Integer({ minimum: 0, maximum: 1_000_000, default: 60, description: '0: none ever.' }),
          ),
        },
        { ...strict, description: 'Moves of running copies for the sake of evenness.' },
      ),
    ),
    componentHostPackageName: Type.Optional({
      ...packageName('The host package.'),
      default: 'component-host',
    }),
    nodePackages: Type.Optional(Type.Array(PackageReference, { default: [] })),
    componentPackages: Type.Optional(Type.Array(PackageReference, { default: [] })),
    nodeServers: Type.Array(NodeServer),
    componentInstances: Type.Optional(Type.Array(ComponentInstance, { default: [] })),
    routes: Type.Optional(Type.Array(Route, { default: [] })),
  },
  { ...strict, title: 'Holdfast cluster settings' },
);

/** The document as its user writes it. */
export type ClusterSettingsDocument = Static<typeof ClusterSettingsSchema>;
