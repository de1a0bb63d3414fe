/**
 * The shape of `cluster-settings.json`, as a JSON Schema from which the type is derived.
 * `core/settings/cluster-settings.schema.json` is generated from it (npm run generate:schemas), shipped for editors,
 * and what is read at runtime: loading typebox costs each process 100 ms.
 */
import Type, { type Static } from 'typebox';
import { COORDINATION_URLS_MAX } from '../coordination-address.ts';
import { DEFAULTS, LIMITS } from '../limits.ts';
import { ComponentInstance } from './instance-schema.ts';
import { identifier, labels, packageName, secretReference, strict, version } from './schema-forms.ts';

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
