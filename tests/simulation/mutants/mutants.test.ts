/** The simulation against faults put into the protocol on purpose: each of them must be found, or the simulation proves nothing of it. */
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { hunt, type Hunt } from './hunt.ts';
import { mutants, type Mutant } from './mutants.ts';

/** The one that hides best took 2,700. */
const schedulesMax = 20_000;

describe('the simulation', () => {
  const hunts = new Map<Mutant, Promise<Hunt>>();

  before(() => {
    // As many at a time as there are cores; each test waits for its own.
    const turns = Array.from({ length: availableParallelism() }, () => Promise.resolve());
    for (const [index, mutant] of mutants.entries()) {
      const turn = index % turns.length;
      const hunted = turns[turn]!.then(() => hunt(mutant, schedulesMax));
      hunts.set(mutant, hunted);
      turns[turn] = hunted.then(
        () => {},
        () => {}, // told by its own test
      );
    }
  });

  it('has at least 25 mutants to find, each with a name of its own', () => {
    assert(mutants.length >= 25);
    assert.equal(new Set(mutants.map(({ name }) => name)).size, mutants.length);
  });

  for (const mutant of mutants) {
    it(`finds out when ${mutant.name}`, async function () {
      this.timeout(180_000);
      const { schedules } = await hunts.get(mutant)!;
      assert.notEqual(schedules, null, `not found in ${schedulesMax} schedules`);
    });
  }
});
