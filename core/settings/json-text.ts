/**
 * Settings as text: JSON with comments and trailing commas. What a lenient parser would pass over in silence is an error
 * here: two values under one name, and names that mean something to JavaScript.
 */
import {
  createScanner,
  getLocation,
  parse,
  printParseErrorCode,
  visit,
  type ParseError,
  type SyntaxKind,
} from 'jsonc-parser';
import { LIMITS } from '../limits.ts';
import { jsonPath, PROBLEMS_MAX, type Problem } from '../problems.ts';

/** Pure. `document` is of use only if there are no problems. */
export function parseJsonText(withMark: string): { document: unknown; problems: Problem[] } {
  const text = withMark.replace(/^\uFEFF/, '');
  const deep = firstTooDeep(text);
  if (deep !== null) {
    const expected = `nothing deeper than ${LIMITS.documentDepthMax} levels (${placeOf(text, deep)})`;
    return { document: undefined, problems: [{ path: '$', expected }] };
  }
  const errors: ParseError[] = [];
  const document = parse(text, errors, { allowTrailingComma: true }) as unknown;
  const [first] = errors;
  if (first) {
    const path = getLocation(text, first.offset).path.filter(segment => segment !== '');
    const where = placeOf(text, first.offset);
    return {
      document,
      problems: [{ path: jsonPath(path), expected: `valid JSON (${wordsOf(first)} at ${where})` }],
    };
  }
  return { document, problems: nameProblems(text) };
}

/** The library's names for these are a const enum, which types that are stripped do not have. */
const opening: readonly SyntaxKind[] = [1, 3];
const closing: readonly SyntaxKind[] = [2, 4];
const endOfText: SyntaxKind = 17;

/** Where the text gets too deep for a parser that recurses. */
function firstTooDeep(text: string): number | null {
  const scanner = createScanner(text);
  let depth = 0;
  for (let kind = scanner.scan(); kind !== endOfText; kind = scanner.scan()) {
    if (opening.includes(kind) && ++depth > LIMITS.documentDepthMax) return scanner.getTokenOffset();
    if (closing.includes(kind)) depth--;
  }
  return null;
}

function nameProblems(text: string): Problem[] {
  const problems: Problem[] = [];
  const open: Set<string>[] = [];
  visit(
    text,
    {
      onObjectBegin: () => void open.push(new Set()),
      onObjectEnd: () => void open.pop(),
      onObjectProperty(name, offset, _length, _line, _character, pathOf) {
        if (problems.length >= PROBLEMS_MAX) return;
        const names = open.at(-1);
        const path = jsonPath([...pathOf(), name]);
        if (names?.has(name)) {
          problems.push({ path, expected: `this name once only (again at ${placeOf(text, offset)})` });
        }
        if (name === '__proto__') problems.push({ path, expected: 'another name' });
        names?.add(name);
      },
    },
    { allowTrailingComma: true },
  );
  return problems;
}

/** `CloseBraceExpected` → `close brace expected`. */
function wordsOf({ error }: ParseError): string {
  return printParseErrorCode(error)
    .replaceAll(/(?<=[a-z])[A-Z]/g, letter => ` ${letter}`)
    .toLowerCase();
}

function placeOf(text: string, offset: number): string {
  const lines = text.slice(0, offset).split('\n');
  return `line ${lines.length}, column ${lines.at(-1)!.length + 1}`;
}
