import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  createPlacementNode,
  createRanking,
  evennessWith,
  leave,
  occupy,
  pielou,
  place,
  vacate,
  type PlacementNode,
  type PlacementRequest,
} from '#node-manager';

function node(name: string, more: Partial<Pick<PlacementNode, 'capacity' | 'labels'>> = {}): PlacementNode {
  return createPlacementNode({ name, capacity: 16, labels: {}, ...more });
}
function request(more: Partial<PlacementRequest> = {}): PlacementRequest {
  return {
    instanceId: 'one',
    packageName: 'app',
    weight: 1,
    labels: {},
    spread: null,
    conflicts: new Set(),
    ...more,
  };
}
const chosen = (wanted: PlacementRequest, nodes: PlacementNode[]) => {
  const outcome = place(wanted, nodes);
  return outcome.node === null ? outcome.reason : outcome.node.name;
};

describe('placement', () => {
  it('takes the first by name where nothing else tells', () => {
    assert.equal(chosen(request(), [node('b'), node('a')]), 'a');
  });

  it('prefers fewest copies of the instance to least load', () => {
    const [a, b] = [node('a'), node('b')];
    occupy(a, request());
    for (let count = 0; count < 5; count++) occupy(b, request({ instanceId: 'two' }));
    assert.equal(chosen(request(), [a, b]), 'b');
  });

  it('counts copies per capacity', () => {
    const [small, large] = [node('a', { capacity: 4 }), node('b', { capacity: 16 })];
    occupy(small, request());
    occupy(large, request());
    assert.equal(chosen(request(), [small, large]), 'b');
  });

  it('prefers least load, as weight per capacity, to evenness', () => {
    const [a, b] = [node('a'), node('b')];
    occupy(a, request({ instanceId: 'two', packageName: 'db', weight: 3 }));
    occupy(b, request({ instanceId: 'three', weight: 2 }));
    assert.equal(chosen(request(), [a, b]), 'b');
  });

  it('counts a node manager as load, but not against the capacity', () => {
    const busy = createPlacementNode({ name: 'a', capacity: 1, labels: {}, others: 1 });
    const idle = createPlacementNode({ name: 'b', capacity: 1, labels: {} });
    assert.equal(chosen(request(), [busy, idle]), 'b');
    assert.equal(chosen(request(), [busy]), 'a');
  });

  it('prefers the node whose component types become most even', () => {
    const [a, b] = [node('a'), node('b')];
    occupy(a, request({ instanceId: 'two' }));
    occupy(a, request({ instanceId: 'three', packageName: 'db' }));
    occupy(b, request({ instanceId: 'three', packageName: 'db' }));
    occupy(b, request({ instanceId: 'four', packageName: 'db' }));
    assert.equal(chosen(request({ packageName: 'db' }), [a, b]), 'b', 'one type only is perfectly even');
    assert.equal(chosen(request({ packageName: 'web' }), [a, b]), 'a', 'three types once each');
  });

  it('spreads over the values of a label before it counts copies per node', () => {
    const nodes = [
      node('a', { labels: { zone: 'x' } }),
      node('b', { labels: { zone: 'x' } }),
      node('c', { labels: { zone: 'y' } }),
    ];
    const wanted = request({ spread: 'zone' });
    const order = Array.from({ length: 4 }, () => {
      const outcome = place(wanted, nodes);
      assert.ok(outcome.node);
      occupy(outcome.node, wanted);
      return outcome.node.name;
    });
    assert.deepEqual(order, ['a', 'c', 'b', 'c']);
  });

  it('respects labels, anti-affinity and capacity, and says why no node will do', () => {
    const labelled = node('a', { labels: { disk: 'ssd' } });
    const full = node('b', { capacity: 1, labels: { disk: 'ssd' } });
    occupy(full, request({ instanceId: 'two' }));
    occupy(labelled, request({ instanceId: 'enemy' }));
    const wanted = request({ labels: { disk: 'ssd' }, conflicts: new Set(['enemy']) });
    assert.equal(
      chosen(wanted, [labelled, full, node('c')]),
      'no node takes it: a runs enemy, which must not share a node with it; b is full (1 of 1 used, 1 needed); c has not the label disk=ssd',
    );
    vacate(labelled, request({ instanceId: 'enemy' }));
    assert.equal(chosen(wanted, [labelled, full]), 'a');
    assert.equal(chosen(wanted, []), 'there is no node');
  });

  it('keeps copies on equal nodes within one of each other, whatever runs there', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 7 }),
        fc.integer({ min: 0, max: 40 }),
        fc.array(fc.nat(6)),
        (size, copies, others) => {
          const nodes = Array.from({ length: size }, (_, index) => node(`n${index}`, { capacity: 1_000 }));
          for (const other of others)
            occupy(nodes[other % size]!, request({ instanceId: 'other', weight: 5 }));
          for (let count = 0; count < copies; count++) {
            const outcome = place(request(), nodes);
            assert.ok(outcome.node);
            occupy(outcome.node, request());
          }
          const counts = nodes.map(item => item.copies.get('one') ?? 0);
          assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, String(counts));
        },
      ),
    );
  });

  it('leaves room for copies that still run though they are to go, but does not count them', () => {
    const [a, b] = [node('a', { capacity: 2 }), node('b', { capacity: 2 })];
    leave(a, request());
    occupy(b, request({ instanceId: 'two' }));
    assert.equal(chosen(request(), [a, b]), 'a');
    leave(a, request());
    assert.equal(chosen(request(), [a, b]), 'b', 'a is full as long as they run');
    const enemies = request({ conflicts: new Set(['one']) });
    leave(a, request(), -1);
    assert.equal(chosen(enemies, [a, b]), 'b');
  });

  const crowds = fc.record({
    nodes: fc.array(
      fc.record({ capacity: fc.constantFrom(2, 4, 8), zone: fc.constantFrom('x', 'y', 'z', null) }),
      { minLength: 1, maxLength: 8 },
    ),
    present: fc.array(
      fc.record({
        node: fc.nat(7),
        id: fc.constantFrom('one', 'two'),
        type: fc.constantFrom('app', 'db', 'web'),
      }),
      { maxLength: 20 },
    ),
    copies: fc.integer({ min: 1, max: 30 }),
    weight: fc.integer({ min: 1, max: 3 }),
    spread: fc.boolean(),
    apart: fc.boolean(),
    closed: fc.nat(9),
  });

  function crowd(made: typeof crowds extends fc.Arbitrary<infer Made> ? Made : never): PlacementNode[] {
    const nodes = made.nodes.map(({ capacity, zone }, index) =>
      node(`n${index}`, { capacity, labels: zone === null ? {} : { zone } }),
    );
    for (const { node: index, id, type } of made.present) {
      const target = nodes[index % nodes.length]!;
      if (target.weight < target.capacity) occupy(target, request({ instanceId: id, packageName: type }));
    }
    return nodes;
  }

  it('places many copies at once exactly as one after the other', () => {
    fc.assert(
      fc.property(crowds, made => {
        const wanted = request({
          weight: made.weight,
          spread: made.spread ? 'zone' : null,
          conflicts: new Set(made.apart ? ['one'] : []),
        });
        const [one, many] = [crowd(made), crowd(made)];
        const open = ({ name }: PlacementNode) => name !== `n${made.closed}`;
        const ranking = createRanking(wanted, many, open);
        for (let count = 0; count < made.copies; count++) {
          const expected = place(wanted, one, item => (open(item) ? null : 'is closed')).node;
          assert.equal(ranking.take()?.name ?? null, expected?.name ?? null);
          if (expected) occupy(expected, wanted);
        }
      }),
    );
  });

  it('knows the evenness of a node that copies come to and go from', () => {
    fc.assert(
      fc.property(crowds, made => {
        for (const item of crowd(made)) {
          for (const name of ['app', 'db']) {
            if ((item.types.get(name) ?? 0) > 0) {
              vacate(item, request({ packageName: name }));
              occupy(item, request({ packageName: name }));
            }
            const types = new Map(item.types);
            types.set(name, (types.get(name) ?? 0) + 1);
            const expected = pielou(types.values());
            assert.ok(
              Math.abs(evennessWith(item, name) - expected) < 1e-8,
              `${evennessWith(item, name)} is ${expected}`,
            );
          }
        }
      }),
    );
  });
});
