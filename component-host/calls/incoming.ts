/** Calls of other components, and requests at all, as they come in over the channel: each becomes a frame while it is answered. */
import { HoldfastError, type InstanceId, type Logger, type ResourceKey, type System } from '#core';
import { findHeader, type IncomingRequest } from '#frames';
import type { ChannelLines } from '../channel-lines.ts';
import { refuseCycle } from '../error-response.ts';
import { linkOf, parseChain, type CallChain } from './chain.ts';
import { runInFrame, type Frame } from './frames.ts';
import { questionOf } from './question.ts';
import { createTurns } from './turns.ts';

/** Runs the component's part of a request. */
export type Respond = () => Promise<void>;

export interface Incoming {
  /**
   * Answers a request for a key (null: the component owns nothing) inside its frame. `admit` gets hold of the right to it, waits
   * for its turn, and runs what it is given.
   * @throws HoldfastError HF_CALL_CYCLE when it would wait for itself; else what `admit` threw
   */
  serve(
    exchange: { request: IncomingRequest; lines: ChannelLines },
    key: ResourceKey | null,
    admit: (respond: (respond: Respond) => Promise<void>) => Promise<unknown>,
  ): Promise<void>;
  /** Another host asks who keeps a call waiting: the answer as JSON. Null for any other request. */
  answerQuestion(lines: ChannelLines): Promise<string> | null;
}

export interface IncomingDeps {
  system: System;
  log: Logger;
  pool: InstanceId;
  /** Requests served at once per key; 0 means no bound. */
  concurrency: number;
}

export function createIncoming({ system, log, pool, concurrency }: IncomingDeps): Incoming {
  const turns = createTurns({ system, log, concurrency });

  function frameOf(request: IncomingRequest, key: ResourceKey | null, call: CallChain | null): Frame {
    const link = linkOf(pool, key);
    return {
      link,
      links: call ? [...call.links, link] : [link],
      requestId: () => findHeader(request.headers, 'x-request-id'),
      outgoing: new Set(),
      ended: false,
    };
  }

  return {
    async serve({ request, lines }, key, admit) {
      const call = lines.calls === null ? null : parseChain(lines.calls);
      const frame = frameOf(request, key, call);
      try {
        if (key === null || (call === null && concurrency === 0)) {
          await admit(respond => runInFrame(frame, respond));
          return;
        }
        const turn = refusing(request, () => turns.enter({ key, link: frame.link, call }));
        try {
          const admitted = admit(async respond => {
            if (turn.begin(frame)) await runInFrame(frame, respond);
          });
          const refused = turn.refused.catch((error: unknown) => refusing(request, () => fail(error)));
          await Promise.race([admitted, refused]);
        } finally {
          turn.end();
        }
      } finally {
        frame.ended = true;
      }
    },
    answerQuestion(lines) {
      const asked = questionOf(lines);
      if (!asked) return null;
      return turns.answer(asked.callId, asked.question).then(waits => JSON.stringify({ waits }));
    },
  };
}

/** Answers with this host's own refusal, which a component that has met with a cycle further on cannot make. */
function refusing<Result>(request: IncomingRequest, run: () => Result): Result {
  try {
    return run();
  } catch (error) {
    if (error instanceof HoldfastError && !request.answered) refuseCycle(request, error);
    throw error;
  }
}

function fail(error: unknown): never {
  throw error;
}
