/** The settings over HTTP: the document, its history, what differs, and the way back. Contract: docs/api.md. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { diffSettings, LIMITS, type SettingsRevision } from '#core';
import { actorOf } from '#http-api';
import { asPlainJson } from '../settings/edit.ts';
import { factsOf } from '../settings/history.ts';
import type { MasterOperations } from './operations.ts';

const root = '/api/master/settings';
const read = { scope: 'read' } as const;
const admin = { scope: 'admin' } as const;
const revision = { type: 'integer', minimum: 1 } as const;
const withComments = 'application/jsonc';

export async function settingsRoutes(app: FastifyInstance, operations: MasterOperations): Promise<void> {
  await app.register(async scope => documentRoutes(scope, operations));
  await app.register(async scope => historyRoutes(scope, operations));
}

/** As it was written for those who can read comments, plain JSON for all others. */
function answer(
  request: FastifyRequest,
  reply: FastifyReply,
  { text, etag }: { text: string; etag: string },
): FastifyReply {
  const asWritten = request.headers.accept?.includes(withComments) ?? false;
  return reply
    .header('etag', etag)
    .type(`${asWritten ? withComments : 'application/json'}; charset=utf-8`)
    .send(asWritten ? text : asPlainJson(text));
}

function documentRoutes(app: FastifyInstance, operations: MasterOperations): void {
  // The text as it was sent is what is stored and shown again, so nobody parses it on the way.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    '*',
    { parseAs: 'string', bodyLimit: LIMITS.settingsBytesMax },
    (_request, body, done) => done(null, body),
  );
  app.get(
    root,
    { config: read, schema: { summary: 'The settings document, with its ETag' } },
    async (request, reply) => answer(request, reply, operations.settings()),
  );
  app.put(
    root,
    {
      config: admin,
      bodyLimit: LIMITS.settingsBytesMax,
      schema: { summary: 'Replace the settings; If-Match guards against lost edits' },
    },
    async (request, reply) => {
      operations.assertLeading();
      const body = typeof request.body === 'string' ? request.body : '';
      const ifMatch = request.headers['if-match'] ?? null;
      return answer(request, reply, await operations.putSettings(body, ifMatch, actorOf(request)));
    },
  );
}

function historyRoutes(app: FastifyInstance, operations: MasterOperations): void {
  const { settingsHistory } = operations;

  app.get(
    `${root}/history`,
    { config: read, schema: { summary: 'The revisions of the settings that are kept, newest first' } },
    async () => (await settingsHistory.list()).toReversed(),
  );
  app.get<{ Params: { revision: number } }>(
    `${root}/history/:revision`,
    {
      config: read,
      schema: {
        summary: 'The settings document of one revision',
        params: { type: 'object', properties: { revision } },
      },
    },
    async (request, reply) => {
      const { text, facts } = await revisionOf(request.params.revision);
      return answer(request, reply, { text, etag: facts.etag });
    },
  );
  app.get<{ Querystring: { from?: number; to?: number } }>(
    `${root}/diff`,
    {
      config: read,
      schema: {
        summary: 'What differs between two revisions; by default the newest and the one before',
        querystring: {
          type: 'object',
          properties: { from: revision, to: revision },
          additionalProperties: false,
        },
      },
    },
    async ({ query }) => {
      const to = await revisionOf(query.to ?? operations.settings().revision);
      const known = await settingsHistory.list();
      const before = known.findLast(one => one.revision < to.facts.revision)?.revision ?? to.facts.revision;
      const from = await revisionOf(query.from ?? before);
      return { from: from.facts, to: to.facts, changes: diffSettings(from.text, to.text) };
    },
  );
  app.post<{ Body: { to?: number } | null | undefined }>(
    `${root}/undo`,
    {
      config: admin,
      schema: {
        summary: 'Make an earlier revision the newest again; by default the one before',
        body: { type: ['object', 'null'], properties: { to: revision }, additionalProperties: false },
      },
    },
    async (request, reply) => {
      operations.assertLeading();
      const ifMatch = request.headers['if-match'] ?? null;
      const by = actorOf(request, 'undo');
      const now = await operations.undoSettings(request.body?.to ?? null, ifMatch, by);
      return reply.header('etag', now.etag).send(factsOf(now));
    },
  );

  async function revisionOf(number: number): Promise<{ text: string; facts: SettingsRevision }> {
    const present = operations.settings();
    // The present one may not be in the history yet: its leader could not write it any more.
    const found = present.revision === number ? present : await settingsHistory.revision(number);
    return { text: found.text, facts: factsOf(found) };
  }
}
