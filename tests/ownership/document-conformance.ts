/** What every adapter's document store must do; part of `directoryConformance`. */
import assert from 'node:assert/strict';
import { until } from '../leases/conformance.ts';
import type { DirectoryHarness } from './vocabulary.ts';

export function documentConformance(getHarness: () => DirectoryHarness): void {
  let harness: DirectoryHarness;
  beforeEach(() => {
    harness = getHarness();
  });

  describe('documents', () => {
    it('are written with compare-and-set', async () => {
      const { documents } = harness.one;
      assert.equal(await documents.get('d'), null);
      const first = await documents.put('d', 'one', null);
      assert(first.written);
      assert.deepEqual(await harness.two.documents.get('d'), { content: 'one', etag: first.etag });
      const refused = await harness.two.documents.put('d', 'two', null);
      assert.deepEqual(refused, { written: false, current: { content: 'one', etag: first.etag } });
      const second = await documents.put('d', 'two', first.etag);
      assert(second.written && second.etag !== first.etag);
      const back = await documents.put('d', 'one', second.etag);
      assert(back.written && back.etag !== first.etag, 'the same text again is another state');
      assert.deepEqual(await documents.put('none', 'x', 'etag'), { written: false, current: null });
      await assert.rejects(documents.put('big', 'x'.repeat(4 * 1024 * 1024 + 1), null), {
        code: 'HF_REQUEST_INVALID',
      });
      await harness.restart();
      assert.deepEqual(await documents.get('d'), { content: 'one', etag: back.etag });
    });

    it('are shown to watchers as they are and whenever they change, over a restart too', async () => {
      const { documents } = harness.one;
      const first = await documents.put('d', 'one', null);
      assert(first.written);
      const seen: string[] = [];
      const stop = harness.two.documents.watch('d', document => seen.push(document.content));
      harness.two.documents.watch('later', document => seen.push(document.content));
      await until(() => seen.length === 1);
      const second = await documents.put('d', 'two', first.etag);
      assert(second.written);
      await until(() => seen.length === 2);
      await harness.restart();
      await documents.put('d', 'three', second.etag);
      await documents.put('later', 'new', null);
      await until(() => seen.length === 4);
      assert.deepEqual(seen, ['one', 'two', 'three', 'new']);
      stop();
    });
  });
}
