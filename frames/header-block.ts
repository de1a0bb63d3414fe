/** Header blocks: `name: value\r\n` for each header, one character a byte, names in lower case. Pure. */

/** @throws TypeError for what would break the block, or the HTTP message that is made of it */
export function headerBlock(flat: readonly string[]): string {
  let block = '';
  for (let index = 0; index < flat.length; index += 2) {
    const [name, value] = [flat[index]!, flat[index + 1]!];
    if (!nameForm.test(name))
      throw new TypeError(`Header name must be a valid HTTP token [${JSON.stringify(name)}]`);
    if (!valueForm.test(value))
      throw new TypeError(`Invalid character in header content [${JSON.stringify(name)}]`);
    block += `${name}: ${value}\r\n`;
  }
  return block;
}

const nameForm = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Tab is the one control character that a value may hold. */
const valueForm = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Flat: name, value, name, … */
export function parseHeaderBlock(block: string): string[] {
  const flat: string[] = [];
  let at = 0;
  while (at < block.length) {
    const end = block.indexOf('\r\n', at);
    const line = end < 0 ? block.length : end;
    const colon = block.indexOf(':', at);
    if (colon > at && colon < line) {
      const valueAt = block.charCodeAt(colon + 1) === 32 ? colon + 2 : colon + 1;
      flat.push(block.slice(at, colon), block.slice(valueAt, line));
    }
    at = line + 2;
  }
  return flat;
}

/** The first header of that name (lower case), null if there is none. */
export function findHeader(block: string, name: string): string | null {
  const prefix = `${name}: `;
  let at = block.startsWith(prefix) ? 0 : block.indexOf(`\r\n${prefix}`);
  if (at < 0) return null;
  if (at > 0) at += 2;
  const end = block.indexOf('\r\n', at);
  return block.slice(at + prefix.length, end < 0 ? undefined : end);
}
