/**
 * One vote of the masters, held by redlock: it asks all of them at once, counts, is done as soon as a majority has decided, and undoes an
 * acquisition that got none. It knows nothing of holders and fences, and only counts numbers; so each master's answer passes through a voter
 * here, which adds our parameters on the way in and keeps what was answered on the way out. Redlock's own idea of when a lock
 * expires is not used: it is made with `Date.now()`.
 */
import type { Answer } from './tally.ts';
import type { Master, Script } from './masters.ts';

/** Which of redlock's three operations, under which value, with which script of ours. */
export interface Vote {
  readonly operation:
    | { readonly type: 'acquire'; readonly ttlMs: number }
    | { readonly type: 'extend'; readonly value: string; readonly ttlMs: number }
    | { readonly type: 'release'; readonly value: string };
  readonly recordKey: string;
  /** What each script needs besides the value, and the time to live. */
  readonly calls: Readonly<Record<'acquire' | 'extend' | 'release', VoteCall>>;
}

export interface VoteCall {
  readonly script: Script;
  readonly keys: readonly string[];
  readonly parameters: readonly (string | number)[];
}

export interface VoteResult {
  readonly elected: boolean;
  /** Under which the masters keep it. */
  readonly value: string;
  /** Of the masters that had answered when the vote was decided, without those of an undoing. */
  readonly answers: readonly Answer[];
}

/** One that fails is asked again by the caller, who knows how long it may take. */
const settings = { retryCount: 0, driftFactor: 0 };

export async function holdVote(masters: readonly Master[], vote: Vote): Promise<VoteResult> {
  const { default: Redlock, ExecutionError, Lock } = await import('redlock');
  const { operation, recordKey, calls } = vote;
  const answers: Answer[] = [];
  let value = operation.type === 'acquire' ? '' : operation.value;

  const scriptOf = (hash: string) => Object.values(calls).find(call => call.script.hash === hash)!;
  const isUndoing = (call: VoteCall) => operation.type === 'acquire' && call !== calls.acquire;

  async function ask(call: VoteCall, given: readonly (string | number)[], run: Run): Promise<number> {
    // Redlock passes the key, its value, and for acquire and extend the time to live.
    const [, asked, ...rest] = given;
    if (!isUndoing(call)) value = String(asked);
    try {
      const answer = toAnswer(await run(call.keys, [value, ...rest, ...call.parameters]));
      if (!isUndoing(call)) answers.push(answer);
      return answer.type === 'done' ? 1 : 0;
    } catch (error) {
      const unknownScript = error instanceof Error && error.message.startsWith('NOSCRIPT');
      if (!unknownScript && !isUndoing(call)) answers.push({ type: 'failed', error });
      throw error instanceof Error ? error : new Error(String(error));
    }
  }
  type Run = (keys: readonly string[], parameters: readonly (string | number)[]) => Promise<unknown>;

  const voters = masters.map(master => ({
    evalsha: (hash: string, _keyCount: number, given: (string | number)[]) =>
      ask(scriptOf(hash), given, (keys, parameters) => master.runByHash(hash, keys, parameters)),
    eval(text: string, _keyCount: number, given: (string | number)[]) {
      const call = Object.values(calls).find(({ script }) => script.text === text)!;
      return ask(call, given, (keys, parameters) => master.runByText(text, keys, parameters));
    },
  }));
  const redlock = new Redlock(voters, settings, {
    acquireScript: () => calls.acquire.script.text,
    extendScript: () => calls.extend.script.text,
    releaseScript: () => calls.release.script.text,
  });

  try {
    if (operation.type === 'acquire') {
      await redlock.acquire([recordKey], operation.ttlMs);
    } else {
      const lock = new Lock(redlock, [recordKey], operation.value, [], Number.POSITIVE_INFINITY);
      if (operation.type === 'extend') await redlock.extend(lock, operation.ttlMs);
      else await redlock.release(lock);
    }
    return { elected: true, value, answers: [...answers] };
  } catch (error) {
    if (!(error instanceof ExecutionError)) throw error;
    return { elected: false, value, answers: [...answers] };
  }
}

/** Reads what a script of `scripts.lua.ts` answers; its headers say what the codes mean. */
export function toAnswer(reply: unknown): Answer {
  const [code, first, second, holder] = reply as (string | number)[];
  switch (code) {
    case 1:
      return { type: 'done', fence: BigInt(first ?? 0), expiresInMs: Number(second ?? 0) };
    case 2:
      return {
        type: 'held',
        fence: BigInt(first!),
        expiresInMs: Math.max(0, Number(second)),
        holder: String(holder),
      };
    case 3:
      return { type: 'abstains', forMs: Number(first) };
    default:
      return { type: 'absent' };
  }
}
