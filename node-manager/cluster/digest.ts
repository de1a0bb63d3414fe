/** The digest of a ZIP in memory, without holding up the event loop: the largest would stop a manager for a fifth of a second. */
import { createHash } from 'node:crypto';

const sliceBytes = 1024 * 1024;

/** SHA-256, hex. */
export async function digestOf(zip: Buffer): Promise<string> {
  const hash = createHash('sha256');
  for (let start = 0; start < zip.length; start += sliceBytes) {
    if (start > 0) await new Promise(resolve => setImmediate(resolve));
    hash.update(zip.subarray(start, start + sliceBytes));
  }
  return hash.digest('hex');
}
