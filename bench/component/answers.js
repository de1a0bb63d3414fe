/** What the measured component and the peers' host answer with: the same bytes from both. */

/** About 200 bytes as JSON. */
const value = 'v'.repeat(160);

export function answerOf(key) {
  return { key, value };
}

export const big = Buffer.alloc(1024 * 1024, 'b');

const slowChunk = Buffer.alloc(64 * 1024, 's');
const slowChunkCount = 64;

/** 4 MiB, made as they are read: whoever buffers them for a slow reader shows it in its memory. */
export function* slowChunks() {
  for (let index = 0; index < slowChunkCount; index++) yield slowChunk;
}
