/**
 * Several subjects measured in turn by the same metrics: a table with one row for each, and ratios between two of them. A ratio is
 * taken within each round and then reduced, because what disturbs a shared machine disturbs neighbours alike.
 */
import { median } from './measure.ts';

export interface Ratio {
  name: string;
  of: { subject: string; metrics: readonly string[] };
  to: { subject: string; metrics: readonly string[] };
  aim: string;
}

export interface Comparison {
  title: string;
  /** Name and unit of each column. */
  metrics: readonly string[];
  /** By subject and metric: one sample for each round. */
  samples: Record<string, Record<string, number[]>>;
  ratios: readonly Ratio[];
}

export function isComparison(value: object): value is Comparison {
  return 'ratios' in value;
}

/** Writes a sample down. */
export function note(comparison: Comparison, subject: string, values: Record<string, number>): void {
  const row = (comparison.samples[subject] ??= {});
  for (const [metric, value] of Object.entries(values)) (row[metric] ??= []).push(value);
}

/** One ratio for each round; metrics of one side are added up. */
export function ratioSamples({ samples }: Comparison, { of, to }: Ratio): number[] {
  const sums = ({ subject, metrics }: Ratio['of']) => {
    const [first, ...others] = metrics.map(metric => samples[subject]?.[metric] ?? []);
    return (first ?? []).map((value, round) => others.reduce((sum, other) => sum + other[round]!, value));
  };
  const below = sums(to);
  return sums(of).map((value, round) => value / below[round]!);
}

export function table(comparison: Comparison): string {
  const { title, metrics, samples, ratios } = comparison;
  const lines = [
    `**${title}**, median (min–max):\n`,
    `| |${metrics.map(metric => ` ${metric} |`).join('')}`,
    `|---|${metrics.map(() => '---:|').join('')}`,
  ];
  for (const [subject, row] of Object.entries(samples)) {
    lines.push(`| ${subject} |${metrics.map(metric => ` ${spread(row[metric] ?? [])} |`).join('')}`);
  }
  if (ratios.length > 0) lines.push('', '| ratio | median (min–max) | aim |', '|---|---:|---|');
  for (const ratio of ratios)
    lines.push(`| ${ratio.name} | ${spread(ratioSamples(comparison, ratio))} | ${ratio.aim} |`);
  return `${lines.join('\n')}\n`;
}

function spread(samples: readonly number[]): string {
  if (samples.length === 0) return '–';
  const middle = median(samples);
  const digits = middle >= 1_000 ? 0 : middle >= 10 ? 1 : 2;
  const text = (value: number) =>
    value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return `${text(middle)} (${text(Math.min(...samples))}–${text(Math.max(...samples))})`;
}
