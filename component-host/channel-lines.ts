/** What hosts say to each other beside a request, in the part of it that no client and no component can write. */
import { parseHeaderBlock, type IncomingRequest } from '#frames';

/** Which one it is, if it is none for the component: at most one. */
export interface ChannelLines {
  /** A call of a component, with the resources that wait for its answer, see `calls/chain.ts`. */
  calls: string | null;
  /** Not a request for the component: wakes the key's alarm of that time (epoch milliseconds). */
  alarm: string | null;
  /** Not a request for the component either: the key was just handed to this host, which is to open it now. */
  open: string | null;
  /** A question who keeps a call waiting, see `calls/question.ts`. */
  question: string | null;
}

const none: ChannelLines = { calls: null, alarm: null, open: null, question: null };

export function channelLinesOf({ channel }: IncomingRequest): ChannelLines {
  if (channel === '') return none;
  const lines = { ...none };
  const flat = parseHeaderBlock(channel);
  for (let index = 0; index < flat.length; index += 2) {
    const name = flat[index]!;
    if (Object.hasOwn(none, name)) lines[name as keyof ChannelLines] = flat[index + 1]!;
  }
  return lines;
}

/** Text of printable ASCII, as all of them are. */
export function channelLine(name: keyof ChannelLines, value: string): string {
  return `${name}: ${value}\r\n`;
}
