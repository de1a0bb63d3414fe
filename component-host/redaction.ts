/**
 * Hides secrets by the names of their keys, in logs and in answers. Values that came from a `secretRef` arrive here as
 * plain text: they are hidden only if the key they stand under tells what they are. Pure.
 */
import { isSecretName } from '#core';

/** `signingKey`, `signing_key`: a key to something, unlike the keys of resources and tables. */
const keyName = /[a-z0-9]Key$|[-_]key$/;
const harmlessKeyName = /^(?:resource|primary|public|partition|sort|foreign)[-_]?key$/i;
const depthMax = 8;

export const REDACTED = '[redacted]';

/** Whether a value under this name is to be hidden. */
export function isHiddenName(name: string): boolean {
  return isSecretName(name) || (keyName.test(name) && !harmlessKeyName.test(name));
}

/** The settings of a package, for answers. There, unlike in logs, a bare `key` is no resource's. */
export function redactSettings(settings: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return redact(settings, name => isHiddenName(name) || name === 'key') as Record<string, unknown>;
}

/**
 * A copy of plain objects and arrays with secrets replaced, and passwords in URLs too. Other objects (errors,
 * requests) pass unchanged: loggers have serializers for them.
 */
export function redact(value: unknown, isSecret: (name: string) => boolean = isHiddenName): unknown {
  return walk(value, isSecret, 0);
}

function walk(value: unknown, isSecret: (name: string) => boolean, depth: number): unknown {
  if (typeof value === 'string') return redactUrl(value);
  if (typeof value !== 'object' || value === null || depth >= depthMax) return value;
  if (Array.isArray(value)) return value.map(item => walk(item, isSecret, depth + 1));
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [
      name,
      isSecret(name) && hides(inner) ? REDACTED : walk(inner, isSecret, depth + 1),
    ]),
  );
}

/** `passwordRequired: true` and an absent token tell nothing. */
function hides(value: unknown): boolean {
  return value !== null && value !== undefined && typeof value !== 'boolean';
}

/** `scheme://user:password@host` keeps the user only. */
function redactUrl(text: string): string {
  return text.includes('://') ? text.replace(/(\w+:\/\/[^\s:/?#@]*):[^\s/?#@]+@/g, `$1:${REDACTED}@`) : text;
}
