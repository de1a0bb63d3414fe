/**
 * Who has the turn at a key and who waits for it, where an instance serves requests one (or a few) at a time; and whether
 * somebody waits for himself.
 *
 * A call that comes back to a key whose turns its own chain has is refused at once. Two chains can also wait for each other, each
 * with a turn that the other needs, and neither chain shows it. So a call that has waited for a while asks: along the
 * calls of those who have the turn, from host to host, and if the question comes back to the call that asked, nobody in the circle
 * will ever be served. Where several may be served at once, all of them must be stuck.
 *
 * Why nobody is refused wrongly: the question is put twice, and both answers must name the same calls. A call waits
 * at one place, once; so what is named twice waited all the time in between, at the same moment, and cannot have come loose.
 * Why exactly one is refused: all members of a circle find the same circle, and only the one with the greatest id gives up.
 */
import { HoldfastError, type Logger, type ResourceKey, type System } from '#core';
import type { CallChain } from './chain.ts';
import type { Frame, Question, Wait, Waits } from './frames.ts';

export interface Turns {
  /**
   * A request that enters the queue of a key. Null `call`: it is nobody's call.
   * @throws HoldfastError HF_CALL_CYCLE when its own chain has all turns
   */
  enter(request: { key: ResourceKey; link: string; call: CallChain | null }): Turn;
  /** Whether `callId`, which is here, keeps the question's origin waiting for itself. */
  answer(callId: string, question: Question): Promise<Waits>;
}

export interface Turn {
  /** Rejects with HF_CALL_CYCLE when it would wait for ever; settles in no other way. */
  readonly refused: Promise<never>;
  /** Its turn has come. False: it was refused meanwhile, and must not run. */
  begin(frame: Frame): boolean;
  /** It is over, whatever it came to. */
  end(): void;
}

/** How long a call waits before it asks; then it asks less and less often. */
const firstAskMs = 100;
const askMsMax = 2_000;
const passedMax = 64;

interface Queued extends Wait {
  readonly key: ResourceKey;
}

export function createTurns(deps: { system: System; log: Logger; concurrency: number }): Turns {
  const { system, log, concurrency } = deps;
  const holders = new Map<ResourceKey, Set<Frame>>();
  const queued = new Map<string, Queued>();
  const running = new Map<string, Frame>();

  /** Through everybody who has a turn at the key. */
  async function throughHolders({ callId, link, key }: Queued, question: Question): Promise<Waits> {
    const having = [...(holders.get(key) ?? [])];
    if (concurrency === 0 || having.length < concurrency) return null; // it waits for something else
    const waits: Wait[] = [{ callId, link }];
    for (const frame of having) {
      const further = await throughFrame(frame, question);
      if (!further) return null;
      waits.push(...further);
    }
    return waits;
  }

  /** Through any of the calls that a request has made: it needs them all. */
  async function throughFrame(frame: Frame, question: Question): Promise<Waits> {
    if (question.passed.length >= passedMax) return null;
    for (const { callId, ask } of frame.outgoing) {
      if (callId === question.origin) return [];
      if (!ask || question.passed.includes(callId)) continue;
      const waits = await ask({ ...question, passed: [...question.passed, callId] });
      if (waits) return waits;
    }
    return null;
  }

  async function isStuck(call: Queued): Promise<readonly string[] | null> {
    const question = { origin: call.callId, passed: [] };
    const first = await throughHolders(call, question);
    if (!first) return null;
    const second = await throughHolders(call, question);
    if (!second || names(first) !== names(second)) return null;
    if (second.some(({ callId }) => callId > call.callId)) return null; // that one gives up
    return second.map(({ link }) => link);
  }

  /** Asks until its turn has come. */
  function watch(call: Queued, refuse: (circle: readonly string[]) => void): () => void {
    let over = false;
    let cancel = () => {};
    const askAfter = (ms: number) => {
      cancel = system.timers.after(ms, () => void ask(ms));
    };
    const ask = async (ms: number) => {
      const circle = await isStuck(call).catch((error: unknown) => {
        log.debug({ err: error, key: call.key }, 'it could not be found out who keeps a call waiting');
        return null;
      });
      if (over) return;
      if (circle) refuse(circle);
      else askAfter(Math.min(2 * ms, askMsMax));
    };
    askAfter(firstAskMs);
    return () => {
      over = true;
      cancel();
    };
  }

  return {
    enter({ key, link, call }) {
      const refusal = Promise.withResolvers<never>();
      refusal.promise.catch(() => {}); // who waits for it hears of it; mostly nobody does any more
      if (call && concurrency > 0) {
        const own = call.links.filter(other => other === link).length;
        const taken = holders.get(key)?.size ?? 0;
        if (own >= concurrency && taken >= concurrency) throw cycle([...call.links, link]);
      }
      let phase: 'queued' | 'running' | 'over' = 'queued';
      let frame: Frame | null = null;
      let unwatch = () => {};
      if (call && concurrency > 0) {
        const entry = { callId: call.callId, link, key };
        queued.set(call.callId, entry);
        unwatch = watch(entry, circle => {
          leave();
          log.warn({ key, calls: call.links, circle }, 'a call was refused because it would wait for itself');
          refusal.reject(cycle([...call.links, link], circle));
        });
      }

      function leave(): void {
        unwatch();
        if (call && phase === 'queued') queued.delete(call.callId);
        if (call && phase === 'running') running.delete(call.callId);
        if (frame) {
          const having = holders.get(key);
          having?.delete(frame);
          if (having?.size === 0) holders.delete(key);
        }
        phase = 'over';
      }

      return {
        refused: refusal.promise,
        begin(begun) {
          if (phase !== 'queued') return false;
          leave();
          phase = 'running';
          if (call) running.set(call.callId, begun);
          if (concurrency === 0) return true;
          frame = begun;
          const having = holders.get(key);
          if (having) having.add(begun);
          else holders.set(key, new Set([begun]));
          return true;
        },
        end: leave,
      };
    },
    async answer(callId, question) {
      const waiting = queued.get(callId);
      if (waiting) return throughHolders(waiting, question);
      const frame = running.get(callId);
      return frame ? throughFrame(frame, question) : null;
    },
  };
}

function names(waits: readonly Wait[]): string {
  return waits
    .map(({ callId }) => callId)
    .sort()
    .join(' ');
}

function cycle(calls: readonly string[], circle?: readonly string[]): HoldfastError {
  return new HoldfastError(
    'HF_CALL_CYCLE',
    circle
      ? `calls wait for each other: ${circle.join(', ')}`
      : `the call would wait for itself: ${calls.join(' → ')}`,
    { details: { calls, ...(circle ? { circle } : {}) } },
  );
}
