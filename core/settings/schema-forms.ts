/** Forms that several parts of the settings share. */
import Type from 'typebox';
import { IDENTIFIER_FORM, PACKAGE_NAME_FORM, VERSION_FORM } from '../patterns.ts';

export const strict = { additionalProperties: false } as const;
export const packageName = (description: string) => Type.String({ ...PACKAGE_NAME_FORM, description });
export const version = Type.String({ ...VERSION_FORM, description: 'Semantic version, for example 1.2.0.' });
export const identifier = (description: string) => Type.String({ ...IDENTIFIER_FORM, description });
export const labels = Type.Record(Type.String(), Type.String({ maxLength: 128 }));
export const port = Type.Integer({ minimum: 1, maximum: 65535 });
export const secretReference = Type.Object(
  { secretRef: identifier('Name of a file in the state folder `secrets/` on the node.') },
  strict,
);
