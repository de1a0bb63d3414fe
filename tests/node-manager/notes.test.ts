/** Notes and locks on a store in memory: what several managers may rely on. */
import assert from 'node:assert/strict';
import { HoldfastError, type DocumentStore } from '#core';
import { createLocks, createNotes, type Note } from '#node-manager';
import { createInMemoryCoordination } from '../support/in-memory-coordination.ts';
import { until } from './running-manager.ts';
import { silentLogger } from './silence.ts';

type Counts = Record<string, number>;

describe('notes', () => {
  let coordination: ReturnType<typeof createInMemoryCoordination>;
  let leads: boolean;
  const stops: (() => void)[] = [];
  beforeEach(() => {
    coordination = createInMemoryCoordination();
    leads = true;
  });
  afterEach(async () => {
    for (const stop of stops.splice(0)) stop();
    await coordination.close();
  });

  function open(
    onChange: (counts: Counts) => void = () => {},
    documents: DocumentStore = coordination.documents,
  ): Note<Counts> & { refreshAll(): Promise<void> } {
    const notes = createNotes({
      documents,
      log: silentLogger,
      assertLeading() {
        if (!leads) throw new HoldfastError('HF_NOT_LEADER', 'it does not lead');
      },
    });
    stops.push(() => notes.stop());
    return { ...notes.open<Counts>('counts', {}, onChange), refreshAll: () => notes.refresh() };
  }
  const increment = (name: string) => (present: Counts) => ({ ...present, [name]: (present[name] ?? 0) + 1 });

  it('tells every manager what any of them wrote', async () => {
    const seen: Counts[] = [];
    const one = open();
    const other = open(counts => seen.push(counts));
    await one.change(increment('a'));
    await until(
      () => other.current(),
      counts => counts.a === 1,
    );
    assert.deepEqual(seen, [{ a: 1 }]);
  });

  it('loses no change when many are made at once', async () => {
    const notes = [open(), open()];
    const changes = Array.from({ length: 8 }, (_, index) => notes[index % 2]!.change(increment('a')));
    await Promise.all(changes);
    assert.equal((await open().change(() => null)).a, 8);
  });

  it('writes nothing when this manager does not lead, not even if it ceased to while the store answered', async () => {
    const { documents } = coordination;
    const note = open(() => {}, {
      ...documents,
      async get(name) {
        leads = false;
        return documents.get(name);
      },
    });
    await assert.rejects(note.change(increment('a')), { code: 'HF_NOT_LEADER' });
    assert.equal(await documents.get('counts'), null);
  });

  it('gives a store that has forgotten it back what it remembers, if it leads', async () => {
    const note = open();
    await note.change(increment('a'));
    coordination.forgetDocuments();
    leads = false;
    await assert.rejects(note.refreshAll(), { code: 'HF_NOT_LEADER' });
    leads = true;
    await note.refreshAll();
    assert.deepEqual(await open().change(() => null), { a: 1 });
    coordination.forgetDocuments();
    await note.change(increment('b'));
    assert.deepEqual(note.current(), { a: 1, b: 1 });
    coordination.forgetDocuments();
    assert.deepEqual(await note.change(() => null), { a: 1, b: 1 });
    assert.deepEqual(await open().change(() => null), { a: 1, b: 1 });
  });

  it('is not set back by a look that began before its own write', async () => {
    const { documents } = coordination;
    let tell: Parameters<DocumentStore['watch']>[1] = () => {};
    const note = open(() => {}, { ...documents, watch: (_name, listener) => ((tell = listener), () => {}) });
    await note.change(increment('a'));
    const before = await documents.get('counts');
    await note.change(increment('a'));
    tell(before!);
    assert.deepEqual(note.current(), { a: 2 });
  });

  it('keeps what it knows when somebody has written nonsense, and replaces that with its next change', async () => {
    const note = open();
    await note.change(increment('a'));
    const document = await coordination.documents.get('counts');
    await coordination.documents.put('counts', 'nonsense', document!.etag);
    await note.refreshAll();
    assert.deepEqual(await note.change(increment('a')), { a: 2 });
  });
});

describe('locks', () => {
  it('lets one operation of a name run at a time, in all managers', async () => {
    const { leases } = createInMemoryCoordination();
    const [one, other] = [createLocks(leases, 'manager-1', 1_000), createLocks(leases, 'manager-2', 1_000)];
    let inside = 0;
    let most = 0;
    const work = async () => {
      most = Math.max(most, ++inside);
      await new Promise(resolve => setImmediate(resolve));
      inside -= 1;
    };
    await Promise.all(
      [one, other, one, other].map(locks => locks.hold('packages', work, { waitMs: 30_000 })),
    );
    assert.equal(most, 1);
  });

  it('says who holds it to whoever does not want to wait, and lets other names pass', async () => {
    const { leases } = createInMemoryCoordination();
    const [one, other] = [createLocks(leases, 'manager-1', 1_000), createLocks(leases, 'manager-2', 1_000)];
    await one.hold('node/a', async () => {
      await assert.rejects(
        other.hold('node/a', async () => assert.fail('it ran'), { waitMs: 0 }),
        {
          code: 'HF_UNAVAILABLE',
          message: /"node\/a" \(manager-1\)/,
        },
      );
      assert.equal(await other.hold('node/b', async () => 7), 7);
    });
  });

  it('aborts the work of a lock that is lost, and says that its outcome is not known', async () => {
    const coordination = createInMemoryCoordination();
    const locks = createLocks(coordination.leases, 'manager-1', 100);
    const outcome = locks.hold('restore', async signal => {
      coordination.fail(true);
      await new Promise(resolve => signal.addEventListener('abort', resolve, { once: true }));
    });
    await assert.rejects(outcome, { code: 'HF_UNAVAILABLE', message: /lost before the operation was over/ });
  });
});
