import assert from 'node:assert/strict';
import type { InstanceId } from '#core';
import { createNotes } from '../../component-host/notes.ts';
import { createInMemoryCoordination } from '../support/in-memory-coordination.ts';

const { documents } = createInMemoryCoordination();
const notesOf = (instanceId: string) => createNotes(documents, instanceId as InstanceId);

describe('notes of an instance', () => {
  it('are written by compare-and-set, shared by its copies, and unseen by other instances', async () => {
    const [one, copy, other] = [notesOf('a'), notesOf('a'), notesOf('b')];
    assert.equal(await one.read('at'), null);
    const first = await one.write('at', '1', null);
    assert(first.written);
    assert.deepEqual(await copy.read('at'), { text: '1', version: first.version });
    assert.equal(await other.read('at'), null);
    assert.deepEqual(await copy.write('at', '2', null), {
      written: false,
      current: { text: '1', version: first.version },
    });
    assert((await copy.write('at', '2', first.version)).written);
    assert(!(await one.write('at', '3', first.version)).written);
  });

  it('have limits', async () => {
    const notes = notesOf('a');
    for (const name of ['', 'a b', 'x'.repeat(129)]) {
      await assert.rejects(notes.read(name), { code: 'HF_NOTE_INVALID' });
    }
    await assert.rejects(notes.write('big', 'x'.repeat(65_537), null), { code: 'HF_NOTE_INVALID' });
    assert((await notes.write('big', 'x'.repeat(65_536), null)).written);
  });
});
