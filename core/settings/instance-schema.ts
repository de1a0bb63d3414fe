/** The shape of one entry of `componentInstances`: what shall run, how often, where, and how it is replaced. */
import Type from 'typebox';
import { DEFAULTS } from '../limits.ts';
import { identifier, labels, packageName, port, secretReference, strict, version } from './schema-forms.ts';

export const ComponentInstance = Type.Object(
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
