/**
 * The shape of a package's `manifest.json` after the older spellings have been normalised. `manifest.schema.json` is generated
 * from it; at runtime only that file is read, because loading typebox costs each process 100 ms.
 */
import Type, { type Static } from 'typebox';
import { PACKAGE_NAME_FORM, VERSION_FORM } from '../patterns.ts';

export const ManifestSchema = Type.Object(
  {
    $schema: Type.Optional(Type.String()),
    packageName: Type.String({
      ...PACKAGE_NAME_FORM,
      description: 'Lower-case letters, digits, dot, dash and underscore; at most 64.',
    }),
    packageVersion: Type.String({ ...VERSION_FORM, description: 'Semantic version, for example 1.2.0.' }),
    kind: Type.Union([Type.Literal('host'), Type.Literal('component'), Type.Literal('publisher')]),
    description: Type.Optional(Type.String({ maxLength: 4_096 })),
    contentRoot: Type.Optional(
      Type.String({
        maxLength: 256,
        default: 'content',
        description: 'Folder in the ZIP that `main` is relative to.',
      }),
    ),
    main: Type.String({
      minLength: 1,
      maxLength: 256,
      description: 'The module to load, relative to contentRoot.',
    }),
    export: Type.Optional(Type.String({ minLength: 1, maxLength: 128, default: 'default' })),
    dependencies: Type.Optional(Type.Record(Type.String(), Type.String({ maxLength: 256 }))),
    engines: Type.Optional(Type.Object({ node: Type.Optional(Type.String({ maxLength: 256 })) })),
    defaultConfiguration: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
    configurationSchema: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), { description: 'JSON Schema of the settings.' }),
    ),
    permissions: Type.Optional(
      Type.Object(
        {
          fsRead: Type.Optional(Type.Array(Type.String())),
          fsWrite: Type.Optional(Type.Array(Type.String())),
          net: Type.Optional(Type.Boolean()),
          childProcess: Type.Optional(Type.Boolean()),
          cluster: Type.Optional(
            Type.Boolean({
              description: 'Gets the coordination store and the cluster secret: system packages only.',
            }),
          ),
        },
        { additionalProperties: false },
      ),
    ),
  },
  { additionalProperties: false, title: 'Holdfast package manifest' },
);

export type ManifestDocument = Static<typeof ManifestSchema>;

/** A manifest with its defaults filled in. */
export type Manifest = ManifestDocument &
  Required<Pick<ManifestDocument, 'contentRoot' | 'export' | 'defaultConfiguration'>>;
