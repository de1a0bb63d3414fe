/**
 * `list` over several masters: each gives a page of its names, and what a majority has counts. Beyond the last name of a page that was cut
 * off nothing is known of that master, so the smallest of these names is as far as one look reaches.
 */
import type { HoldfastError, LeaseHolder, LeaseService } from '#core';
import { checkListQuery, compareNames, endOfPrefix } from '../validation.ts';
import type { Master } from './masters.ts';
import { isUnanswered, liveHolder, type Answer } from './tally.ts';

export interface ListPorts {
  masters: readonly Master[];
  /** Runs `listScript` with where to begin, where to end, and how many names. */
  readPage(master: Master, parameters: [string, string, number]): Promise<unknown>;
  unavailable(answers: readonly Answer[]): HoldfastError;
}

interface Page {
  /** The last name looked at, null when there are no more. */
  last: string | null;
  records: Map<string, Answer>;
}

const absent: Answer = { type: 'absent' };

export const listLeases = async (
  query: Parameters<LeaseService['list']>[0],
  ports: ListPorts,
): ReturnType<LeaseService['list']> => {
  const { prefix, limit, cursor } = checkListQuery(query);
  const { masters } = ports;
  const end = `[${endOfPrefix(prefix)}`;
  const found: LeaseHolder[] = [];
  let after = cursor;
  for (;;) {
    const begin = after !== null && compareNames(after, prefix) >= 0 ? `(${after}` : `[${prefix}`;
    const pages = await Promise.all(
      masters.map(async (master): Promise<Page | Extract<Answer, { type: 'failed' }>> => {
        try {
          return toPage(await ports.readPage(master, [begin, end, limit + 1]));
        } catch (error) {
          return { type: 'failed', error };
        }
      }),
    );
    const failed = pages.filter(page => 'type' in page);
    if (isUnanswered(failed, masters.length)) throw ports.unavailable(failed);
    const horizon = pages
      .flatMap(page => ('type' in page || page.last === null ? [] : [page.last]))
      .sort(compareNames)[0];
    const names = new Set(pages.flatMap(page => ('type' in page ? [] : [...page.records.keys()])));
    for (const name of [...names].sort(compareNames)) {
      if (horizon !== undefined && compareNames(name, horizon) > 0) break;
      const answers = pages.map(page => ('type' in page ? page : (page.records.get(name) ?? absent)));
      const holder = liveHolder(name, answers, masters.length);
      if (!holder) continue;
      if (found.length === limit) return { leases: found, cursor: found.at(-1)!.name };
      found.push(holder);
    }
    if (horizon === undefined) return { leases: found, cursor: null };
    after = horizon;
  }
};

function toPage(reply: unknown): Page {
  const [last, ...fields] = reply as (string | number)[];
  const records = new Map<string, Answer>();
  for (let index = 0; index < fields.length; index += 4) {
    const [name, holder, fence, leftMs] = fields.slice(index, index + 4);
    const expiresInMs = Math.max(0, Number(leftMs));
    records.set(String(name), {
      type: 'held',
      holder: String(holder),
      fence: BigInt(fence!),
      expiresInMs,
    });
  }
  return { last: last === '' ? null : String(last), records };
}
