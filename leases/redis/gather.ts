/** Asks all masters at once; does not wait for more answers than it takes to decide. */
import type { Master } from './masters.ts';
import type { Answer } from './tally.ts';

export function gather(
  masters: readonly Master[],
  ask: (master: Master) => Promise<Answer>,
  isDecided: (answers: readonly Answer[]) => boolean = () => false,
): Promise<readonly Answer[]> {
  const { promise, resolve } = Promise.withResolvers<readonly Answer[]>();
  const answers: Answer[] = [];
  const add = (answer: Answer) => {
    answers.push(answer);
    if (answers.length === masters.length || isDecided(answers)) resolve([...answers]);
  };
  for (const master of masters) {
    ask(master).then(add, (error: unknown) => add({ type: 'failed', error }));
  }
  return promise;
}
