/** What callers may send, as JSON Schema. Bodies are checked here and not by the HTTP library, which would bend values until they fit. */
import {
  describeProblem,
  HoldfastError,
  IDENTIFIER_FORM,
  isDeeperThan,
  LIMITS,
  ownSchema,
  PACKAGE_NAME_FORM,
  type StartProcessRequest,
  VERSION_FORM,
  type Validate,
} from '#core';

const object = (properties: Record<string, object>, required: string[] = []) => ({
  type: 'object',
  additionalProperties: false,
  properties,
  required,
});
const integer = (minimum: number, maximum = Number.MAX_SAFE_INTEGER) => ({
  type: 'integer',
  minimum,
  maximum,
});
const name = { type: 'string', ...PACKAGE_NAME_FORM };
const version = { type: 'string', ...VERSION_FORM };
const identifier = { type: 'string', ...IDENTIFIER_FORM };
const settings = { type: 'object' };

export const StartSchema = object({
  settingsId: {
    type: 'string',
    pattern: '^[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,198}[A-Za-z0-9])?$',
    description: 'Letters, digits and . _ - /; makes the start idempotent.',
  },
  instanceId: identifier,
  settings,
  messagePublisher: object({ packageName: name, packageVersion: version, settings }, ['packageName']),
  version,
  hostVersion: { ...version, description: 'Version of the host package that the component runs in.' },
  env: {
    type: 'object',
    additionalProperties: false,
    patternProperties: {
      '^[A-Za-z_][A-Za-z0-9_]*$': {
        anyOf: [{ type: 'string' }, object({ secretRef: identifier }, ['secretRef'])],
      },
    },
  },
  restart: object(
    {
      maxAttempts: integer(0, 1_000),
      windowMs: integer(1_000),
      backoffMs: integer(0, 86_400_000),
      backoffMaxMs: integer(0, 86_400_000),
    },
    ['maxAttempts', 'windowMs', 'backoffMs', 'backoffMaxMs'],
  ),
  memoryMb: integer(16, 1_048_576),
  capacity: integer(1, 10_000),
  concurrency: integer(0, 1_000_000),
  idleMs: integer(0),
  onAuthorityLoss: { enum: ['stop', 'serveFenced'] },
  health: object(
    {
      livenessMs: integer(0, 3_600_000),
      http: {
        anyOf: [
          { type: 'null' },
          object(
            {
              path: { type: 'string', pattern: '^/[^\\s#]*$', maxLength: 512 },
              port: { anyOf: [integer(1, 65_535), { type: 'null' }] },
              intervalMs: integer(100, 3_600_000),
              timeoutMs: integer(10, 60_000),
              failuresMax: integer(1, 1_000),
              restart: { type: 'boolean' },
            },
            ['path', 'port', 'intervalMs', 'timeoutMs', 'failuresMax', 'restart'],
          ),
        ],
      },
    },
    ['livenessMs', 'http'],
  ),
  job: object(
    {
      number: integer(1),
      runId: identifier,
      scheduledAt: { type: 'string', maxLength: 40 },
      attempt: integer(1, 1_000),
      timeoutMs: integer(1_000, 604_800_000),
    },
    ['number', 'runId', 'scheduledAt', 'attempt', 'timeoutMs'],
  ),
  sessionTtlMs: integer(LIMITS.sessionTtlMsMin, LIMITS.sessionTtlMsMax),
});

export const KillSchema = object({ graceMs: integer(0, 600_000) });

const validateStart = ownSchema(StartSchema);
const validateKill = ownSchema(KillSchema);

/** @throws HoldfastError HF_REQUEST_INVALID with every problem's JSON path */
export function parseStart(body: unknown): StartProcessRequest {
  return check(validateStart, body) as StartProcessRequest;
}

/** @throws HoldfastError HF_REQUEST_INVALID with every problem's JSON path */
export function parseKill(body: unknown): { graceMs?: number } {
  return check(validateKill, body) as { graceMs?: number };
}

function check(validate: Validate, body: unknown): unknown {
  const value = body ?? {};
  const expected = `nothing deeper than ${LIMITS.documentDepthMax} levels`;
  const problems = isDeeperThan(value, LIMITS.documentDepthMax) ? [{ path: '$', expected }] : validate(value);
  if (problems.length === 0) return value;
  throw new HoldfastError('HF_REQUEST_INVALID', problems.map(describeProblem).join('; '), {
    details: { in: 'body', problems },
  });
}

/** Given to routes whose body is checked by the functions above; the schema itself is there for the OpenAPI document. */
export const uncheckedBody = { validatorCompiler: () => () => true };
