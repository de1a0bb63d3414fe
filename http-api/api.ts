/**
 * The one way to make an HTTP API here: token and scope on every route, Holdfast's error shape, request ids, limits,
 * `/openapi.json`, `/metrics`, `/health/live` and `/health/ready`. A route states its scope in `config.scope`; one that
 * does not needs `admin`, so that forgetting it fails closed.
 */
import fastify, {
  LogController,
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import {
  acceptableRequestId,
  createHttpServer,
  describeProblem,
  HoldfastError,
  LIMITS,
  toErrorBody,
  toProblems,
  type ErrorCode,
  type System,
} from '#core';
import { allows, scopeOf, type Scope } from './token.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The scope a caller needs; `public` for none at all. Default: admin. */
    scope?: Scope | 'public';
  }
}

export interface ApiOptions {
  /** Shown in the OpenAPI document. */
  title: string;
  system: System;
  /** The cluster secret. */
  secret: string;
  logger: FastifyBaseLogger;
  /** Registers the routes. Called once, and once more without listening when somebody first asks for the OpenAPI document. */
  routes: (app: FastifyInstance) => void | Promise<void>;
  /** Null when ready, else why not. */
  notReady: () => string | null;
  /** The text for `/metrics`, in Prometheus' format. */
  metrics: () => string | Promise<string>;
  bodyLimitBytes?: number;
}

export type Api = FastifyInstance;

const headerBytesMax = 16 * 1024;
const keepAliveMs = 72_000;
/** The largest upload over a slow line. */
const requestMs = 600_000;

/** Makes an API that does not listen yet. */
export async function createApi(options: ApiOptions): Promise<Api> {
  const app = build(options);
  let openapi: Promise<object> | undefined;

  app.get('/openapi.json', { config: { scope: 'read' }, schema: { hide: true } as object }, () => {
    // Built on demand in an instance of its own: hosts start without paying for it.
    openapi ??= describeApi(options);
    return openapi;
  });
  app.get(
    '/metrics',
    { config: { scope: 'read' }, schema: { hide: true } as object },
    async (_request, reply) => {
      reply.type('text/plain; version=0.0.4; charset=utf-8');
      return options.metrics();
    },
  );
  app.get('/health/live', { config: { scope: 'public' } }, () => ({ status: 'ok' }));
  app.get('/health/ready', { config: { scope: 'public' } }, (_request, reply) => {
    const reason = options.notReady();
    return reason === null ? { status: 'ok' } : reply.code(503).send({ status: 'unavailable', reason });
  });
  await options.routes(app);
  return app;
}

function build(options: ApiOptions): FastifyInstance {
  const newRequestId = () => options.system.random.id(16);
  const app = fastify({
    loggerInstance: options.logger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: options.bodyLimitBytes ?? 1024 * 1024,
    requestIdHeader: false,
    genReqId: request => acceptableRequestId(request.headers['x-request-id']) ?? newRequestId(),
    // A key, percent-encoded.
    routerOptions: { maxParamLength: 3 * LIMITS.keyBytesMax },
    forceCloseConnections: 'idle',
    ajv: {
      customOptions: {
        coerceTypes: 'array',
        removeAdditional: false,
        allErrors: true,
        verbose: true,
        code: { optimize: false },
        validateSchema: false, // they are ours, and checking one first takes longer than compiling it
      },
    },
    serverFactory: handler =>
      createHttpServer({ headerBytesMax, keepAliveMs, requestMs, newRequestId, onRequest: handler }),
    frameworkErrors(error, request, reply) {
      // No hook has run for a URL that the library refused.
      reply.header('x-request-id', request.id);
      try {
        authorize(request, 'read');
        send(reply, toHoldfastError(error));
      } catch (refusal) {
        send(reply, refusal as HoldfastError);
      }
    },
  });

  app.decorateRequest('scope', null);
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
    // What is not there needs no right, but strangers shall not even learn that.
    const needed = request.is404 ? 'read' : (request.routeOptions.config.scope ?? 'admin');
    if (needed !== 'public') authorize(request, needed);
  });
  acceptEmptyBodies(app);
  app.setNotFoundHandler((request, reply) => {
    send(
      reply,
      new HoldfastError('HF_NOT_FOUND', `there is no ${request.method} ${request.url.split('?')[0]}`),
    );
  });
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const known = toHoldfastError(error);
    if (toErrorBody(known).statusCode >= 500)
      request.log.error({ err: error, code: known.code }, 'request failed');
    send(reply, known);
  });
  return app;

  function authorize(request: FastifyRequest, needed: Scope): void {
    const [, token] = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '') ?? [];
    if (!token) {
      throw new HoldfastError(
        'HF_UNAUTHENTICATED',
        'send the header Authorization: Bearer <token>; the token is in .holdfast/token',
      );
    }
    const scope = scopeOf(token, options.secret, options.system.clock.wallMs());
    if (!scope)
      throw new HoldfastError('HF_UNAUTHENTICATED', 'this token is not valid here, or not any more');
    if (!allows(scope, needed)) {
      throw new HoldfastError(
        'HF_FORBIDDEN',
        `this needs a token with the scope ${needed}; yours has ${scope}`,
      );
    }
    request.scope = scope;
  }
}

/** A request that says what it does not send (`curl -X PUT -H 'content-type: application/json'`, `-d ''`) sends nothing. */
function acceptEmptyBodies(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body.length === 0) done(null, undefined);
    else void parse(request, body.toString(), done);
  });
  app.addContentTypeParser('*', (request, _payload, done) => {
    if (request.headers['content-length'] === '0') return done(null, undefined);
    const type = request.headers['content-type'] ?? 'without one';
    done(new HoldfastError('HF_MEDIA_TYPE', `this content type is not one that is taken here: ${type}`));
  });
}

function send(reply: FastifyReply, error: HoldfastError): void {
  if (error.code === 'HF_UNAUTHENTICATED') reply.header('www-authenticate', 'Bearer');
  const body = toErrorBody(error);
  if (body.statusCode === 503) reply.header('retry-after', '1');
  void reply.code(body.statusCode).send(body);
}

const codeByStatus: Record<number, ErrorCode> = {
  413: 'HF_REQUEST_TOO_LARGE',
  415: 'HF_MEDIA_TYPE',
  431: 'HF_HEADERS_TOO_LARGE',
};

/** Fastify's own errors (limits, media types, schema checks) in our words; anything else is a defect, and keeps its text to the log. */
function toHoldfastError(error: FastifyError): HoldfastError {
  if (error instanceof HoldfastError) return error;
  if (error.validation) {
    // Our Ajv is told to say all; Fastify's type does not know.
    const problems = toProblems(error.validation as Parameters<typeof toProblems>[0]);
    return new HoldfastError('HF_REQUEST_INVALID', problems.map(describeProblem).join('; '), {
      details: { in: error.validationContext, problems },
    });
  }
  const status = error.statusCode ?? 500;
  if (status >= 400 && status < 500) {
    return new HoldfastError(codeByStatus[status] ?? 'HF_REQUEST_INVALID', error.message);
  }
  return new HoldfastError('HF_INTERNAL', 'an internal error; the log of this process has the cause', {
    cause: error,
  });
}

async function describeApi(options: ApiOptions): Promise<object> {
  const { default: swagger } = await import('@fastify/swagger');
  const app = build(options);
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: options.title, version: '1' },
      components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
      security: [{ bearer: [] }],
    },
  });
  await app.register(async scoped => options.routes(scoped));
  await app.ready();
  const document = app.swagger();
  await app.close();
  return document;
}
