/**
 * Texts with a form, each with the words that tell a person what is expected. `patternErrorMessage` is the keyword by
 * which editors show such words; `validation.ts` uses it, too.
 */

/** Semantic version 2.0.0 (https://semver.org), with numbers short enough to be compared as numbers. */
export const VERSION_FORM = {
  pattern:
    '^(?:0|[1-9][0-9]{0,14})\\.(?:0|[1-9][0-9]{0,14})\\.(?:0|[1-9][0-9]{0,14})' +
    '(?:-(?:0|[1-9][0-9]{0,14}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(?:\\.(?:0|[1-9][0-9]{0,14}|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?' +
    '(?:\\+[0-9A-Za-z-]+(?:\\.[0-9A-Za-z-]+)*)?$',
  patternErrorMessage: 'a semantic version, for example 1.2.0',
  maxLength: 64,
} as const;

export const PACKAGE_NAME_FORM = {
  pattern: '^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$',
  patternErrorMessage:
    'a name of 1 to 64 lower-case letters, digits, dots, dashes and underscores that begins and ends with a letter or digit',
} as const;

export const IDENTIFIER_FORM = {
  pattern: '^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$',
  patternErrorMessage:
    'a name of 1 to 64 letters, digits, dots, dashes and underscores that begins and ends with a letter or digit',
} as const;
