/**
 * How evenly things are spread over kinds, as ecology measures it: Shannon's H' = -Σ p ln p over the kinds that occur,
 * and Pielou's J' = H' / ln S with S the number of them. J' is 1 where there is nothing to be uneven (S of 0 or 1).
 */

/** Shannon's H' in nats. Counts of zero are kinds that do not occur; the order of the counts changes no digit. */
export function shannon(counts: Iterable<number>): number {
  const present = [...counts].filter(count => count > 0).sort((a, b) => a - b);
  const total = present.reduce((sum, count) => sum + count, 0);
  return present.reduce((sum, count) => sum - (count / total) * Math.log(count / total), 0);
}

/** Pielou's J', 0 to 1; 1 is perfectly even. */
export function pielou(counts: Iterable<number>): number {
  const present = [...counts].filter(count => count > 0).sort((a, b) => a - b);
  if (present.length < 2) return 1;
  // Rounding may put an even distribution a hair above 1.
  return Math.min(1, shannon(present) / Math.log(present.length));
}
