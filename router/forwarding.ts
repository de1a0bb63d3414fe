/**
 * One request's way: owner → attempt → answer, or another owner and another attempt as far as the retry rule allows.
 * Whatever happens, the client gets exactly one answer, or sees its connection break.
 */
import { HoldfastError, type Logger, type ResourceKey, type System } from '#core';
import {
  decide,
  isIdempotent,
  notFound,
  type Failure,
  type Owners,
  type OwnerSearch,
  type Place,
  type Target,
  type Upstreams,
  type WaitingRoom,
} from '#ownership';
import type { StatedError } from './answers.ts';
import { startAttempt, type Attempt, type Outcome } from './attempt.ts';
import type { Counters } from './counters.ts';
import type { Exchange } from './exchange.ts';
import { requestHeaders } from './headers.ts';
import type { ByteBudget } from './request-body.ts';
import { resourceKey, type Route } from './route-table.ts';
import type { RouterSettings } from './settings.ts';
import { receiveUpload, type Upload } from './upload.ts';

export interface Incoming {
  exchange: Exchange;
  requestId: string;
  /** Canonical. */
  path: string;
  /** With its `?`. */
  query: string;
  authority: string | null;
  route: Route;
  holdMs: number;
}

export interface ForwardingDeps {
  settings: RouterSettings;
  system: System;
  log: Logger;
  counters: Counters;
  owners: Owners;
  search: OwnerSearch;
  upstreams: Upstreams;
  room: WaitingRoom;
  budget: ByteBudget;
}

/** What is left to say to the client; null when the owner's answer went through or the client has gone. */
type Rest = HoldfastError | StatedError | null;

/** Rejects with HoldfastError too. */
export type Forward = (incoming: Incoming) => Promise<Rest>;

export function createForwarding(deps: ForwardingDeps): Forward {
  return async incoming => {
    const journey = new Journey(deps, incoming);
    try {
      return await journey.run();
    } finally {
      journey.end();
    }
  };
}

type FailedOutcome = Extract<Outcome, { type: Failure }>;

class Journey {
  readonly #deps: ForwardingDeps;
  readonly #incoming: Incoming;
  /** The client has gone: nobody is there to answer to. */
  #gone = false;
  #key: ResourceKey | null = null;
  #place: Place | null = null;
  #attempt: Attempt | null = null;
  #upload: Upload | null = null;
  #uploadProblem: HoldfastError | StatedError | null = null;
  /** Where the last attempt failed. */
  #failed: { target: Target; failure: Failure } | null = null;
  #failures = 0;
  #brokenAttempts = 0;
  #deadlineMs = 0;

  constructor(deps: ForwardingDeps, incoming: Incoming) {
    this.#deps = deps;
    this.#incoming = incoming;
    incoming.exchange.onGone = this.#onGone;
  }

  readonly #onGone = (): void => {
    this.#gone = true;
    this.#cancel();
  };

  readonly #keyOf = (): ResourceKey => {
    const { exchange, route, path } = this.#incoming;
    return (this.#key ??= resourceKey(route, path, name => exchange.values(name)));
  };

  async run(): Promise<Rest> {
    const { settings, owners, upstreams, budget, counters } = this.#deps;
    const { exchange, path, query, route, requestId } = this.#incoming;
    const headers = requestHeaders(exchange.rawHeaders, {
      requestId,
      authority: this.#incoming.authority,
      remoteAddress: exchange.remoteAddress,
      trust: settings.trustForwardedHeaders,
    });
    if (owners.kind(route.pool) !== 'balanced') this.#keyOf(); // a key that cannot be is not worth a wait
    const receiving = receiveUpload(exchange, {
      settings,
      budget,
      onProblem: problem => {
        this.#uploadProblem = problem;
        this.#cancel();
      },
    });
    const upload = receiving instanceof Promise ? await receiving : receiving;
    if (this.#gone) return null;
    if ('statusCode' in upload) return upload;
    this.#upload = upload;
    this.#holdFromNow();
    for (;;) {
      const target = this.#cachedTarget() ?? (await this.#findTarget());
      if (this.#gone || this.#uploadProblem) return this.#uploadProblem;
      if (target instanceof HoldfastError) {
        if (this.#brokenAttempts === 0) return target;
        return outcomeUnknown(502, 'its owner broke off and no other came in time');
      }
      this.#attempt = startAttempt(upstreams.get(target), {
        method: exchange.method,
        target: path + query,
        headers,
        body: upload.open(),
        right: target.claim,
        requestId,
        exchange,
        onResponse: upload.forget,
      });
      const outcome = await this.#attempt.outcome;
      this.#attempt = null;
      switch (outcome.type) {
        case 'answered':
          return null;
        case 'cancelled':
          return this.#uploadProblem;
        default: {
          const rest = this.#afterFailure(outcome, target, upload);
          if (rest !== 'retry') return rest;
          counters.retries += 1;
        }
      }
    }
  }

  end(): void {
    this.#incoming.exchange.onGone = null;
    this.#upload?.close();
  }

  #cancel(): void {
    this.#place?.cancel();
    this.#attempt?.cancel();
  }

  #holdFromNow(): void {
    this.#deadlineMs = this.#deps.system.clock.monotonicMs() + this.#incoming.holdMs;
  }

  /** The owner, if nothing speaks against the one that is remembered. */
  #cachedTarget(): Target | null {
    if (this.#failed !== null) return null;
    return this.#deps.search.immediate(this.#incoming.route.pool, this.#keyOf);
  }

  /** Waits for an owner; an error when there is none in time. */
  async #findTarget(): Promise<Target | HoldfastError> {
    const { search, room, counters, system } = this.#deps;
    const { pool } = this.#incoming.route;
    const place = room.enter();
    if (!place) {
      counters.heldFull += 1;
      return new HoldfastError('HF_UNAVAILABLE', 'too many requests wait for an owner already');
    }
    this.#place = place;
    counters.held += 1;
    const sinceMs = system.clock.monotonicMs();
    try {
      const finding = await search.search(
        {
          pool,
          key: this.#keyOf,
          place,
          deadlineMs: this.#deadlineMs,
          failed: this.#failed,
          failures: this.#failures,
        },
        () => this.#gone || this.#uploadProblem !== null,
      );
      if (finding.found) return finding.target;
      counters.heldInVain += 1;
      return notFound(finding.reason, pool);
    } finally {
      this.#place = null;
      place.leave();
      counters.heldMs += system.clock.monotonicMs() - sinceMs;
    }
  }

  #afterFailure(outcome: FailedOutcome, target: Target, upload: Upload): Rest | 'retry' {
    const { exchange } = this.#incoming;
    this.#failed = { target, failure: outcome.type };
    this.#failures += 1;
    if (outcome.type === 'broken') {
      this.#brokenAttempts += 1;
      this.#holdFromNow(); // its time with the owner does not count as waiting
    }
    const decision = decide({
      failure: outcome.type,
      responseStarted: exchange.headSent,
      safe: isIdempotent(exchange.method) || exchange.values('idempotency-key').length > 0,
      replayable: upload.replayable,
      brokenAttempts: this.#brokenAttempts,
    });
    this.#note(outcome, target, decision.type);
    if (target.claim && outcome.type !== 'timeout') this.#deps.owners.refuse(target.claim);
    if (this.#gone) return null;
    switch (decision.type) {
      case 'retry':
        return 'retry';
      case 'break-off':
        exchange.destroy();
        return null;
      case 'answer':
        if (decision.code === 'HF_NO_OWNER') return ownerChanged();
        return outcomeUnknown(
          decision.statusCode,
          outcome.type === 'timeout' ? 'its owner did not answer in time' : 'its owner broke off',
        );
    }
  }

  #note(outcome: FailedOutcome, target: Target, decision: string): void {
    const { counters, log } = this.#deps;
    const { requestId } = this.#incoming;
    const facts = { requestId, processId: target.processId, key: target.claim?.key ?? null, decision };
    switch (outcome.type) {
      case 'not-owner':
        counters.notOwner += 1;
        return log.debug(facts, 'the host does not own the key');
      case 'unreachable':
        counters.unreachable += 1;
        return log.debug({ ...facts, err: outcome.cause }, 'the host cannot be reached');
      case 'broken':
        counters.broken += 1;
        return log.warn({ ...facts, err: outcome.cause }, 'the host broke off');
      case 'timeout':
        counters.timeouts += 1;
        return log.warn(facts, 'the host did not answer in time');
    }
  }
}

function ownerChanged(): HoldfastError {
  return new HoldfastError(
    'HF_NO_OWNER',
    'the owner changed while the body was sent, too much of it to be sent again; nothing was executed',
  );
}

function outcomeUnknown(statusCode: 502 | 504, why: string): StatedError {
  return {
    statusCode,
    code: 'HF_OUTCOME_UNKNOWN',
    message: `the request was sent, but ${why}; it may or may not have been executed`,
  };
}
