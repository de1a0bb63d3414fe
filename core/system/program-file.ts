/**
 * What a process of Holdfast runs when it starts another one: the source, by default. In bundled programs another module
 * stands in for this one (cli/programs), so that they start bundled ones.
 */

/** The file to run for a program, by the absolute path of its source. */
export function programFile(source: string): string {
  return source;
}
