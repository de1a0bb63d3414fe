/** The REST API of the publisher's dead letters: list, replay, remove. Any copy of the instance shows the same, as the broker has them. */
import { HoldfastError, type DeadLetter, type DeadLetters } from '#core';
import type { Api } from '#http-api';

const path = '/api/componentHost/deadLetters';

const querySchema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    group: { type: 'string', minLength: 1, maxLength: 64, description: 'only those of this group' },
    limit: { type: 'integer', minimum: 1, maximum: 1000, description: 'how many at most; 100 by default' },
    cursor: { type: 'string', minLength: 1, maxLength: 256, description: 'the cursor of the page before' },
  },
};

const idsSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['ids'],
  properties: {
    ids: {
      type: 'array',
      minItems: 1,
      maxItems: 1000,
      items: { type: 'string', minLength: 1, maxLength: 256 },
      description: 'ids of dead letters, as listed',
    },
  },
};

/** `deadLetters` throws what there is to say when there are none to be had. */
export function registerDeadLetterRoutes(app: Api, deadLetters: () => DeadLetters): void {
  app.get<{ Querystring: { group?: string; limit?: number; cursor?: string } }>(
    path,
    {
      config: { scope: 'read' },
      schema: { summary: 'Messages that a group could not handle', querystring: querySchema } as object,
    },
    async request => {
      const page = await deadLetters().list(request.query);
      return { deadLetters: page.deadLetters.map(describe), cursor: page.cursor };
    },
  );
  for (const [action, summary] of [
    ['replay', 'Give dead letters to their groups again'],
    ['remove', 'Remove dead letters for good'],
  ] as const) {
    app.post<{ Body: { ids: string[] } }>(
      `${path}/${action}`,
      { config: { scope: 'deploy' }, schema: { summary, body: idsSchema } as object },
      async ({ body }) => ({ ids: await deadLetters()[action](body.ids) }),
    );
  }
}

/** @throws HoldfastError HF_NO_PUBLISHER, HF_WRONG_STATE, HF_NOT_IMPLEMENTED */
export function mustKeepDeadLetters(
  publisher: { readonly name: string; readonly deadLetters?: DeadLetters } | null,
): DeadLetters {
  if (!publisher) throw new HoldfastError('HF_WRONG_STATE', 'no publisher is started in this host');
  if (publisher.deadLetters) return publisher.deadLetters;
  throw new HoldfastError(
    'HF_NOT_IMPLEMENTED',
    `the publisher ${publisher.name} delivers no messages, so it has no dead letters`,
  );
}

/** As JSON can carry it. */
function describe({ message, ...letter }: DeadLetter) {
  const { bytes, ...rest } = message;
  return { ...letter, message: bytes ? { ...rest, bytes: Buffer.from(bytes).toString('base64') } : rest };
}
