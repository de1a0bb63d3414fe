/** Extra fields of a ZIP header: the ZIP64 sizes, and a second name that must not differ from the first. Pure. */
import { invalid } from './refusal.ts';

const zip64Id = 0x0001;
const unicodePathId = 0x7075;
const saturated = 0xffff_ffff;

interface Owner {
  name: string;
  nameBytes: Buffer;
}

/**
 * The real values of fields that were saturated to 0xffffffff, taken from the ZIP64 extra field in the order of
 * `classic`'s keys. A ZIP64 field with more than is needed is refused: readers disagree about which value counts.
 */
export function zip64Values<Fields extends Record<string, number>>(
  extra: Buffer,
  classic: Fields,
  owner: Owner,
  { lenient = false } = {},
): Fields {
  const fields = extraFields(extra, owner);
  const unicodePath = fields.get(unicodePathId);
  if (unicodePath && !unicodePath.subarray(5).equals(owner.nameBytes)) {
    throw invalid('its Unicode path extra field names another file', {
      entry: owner.name,
      expected: 'one name for one entry',
    });
  }
  const wide = fields.get(zip64Id);
  const values: Record<string, number> = { ...classic };
  let position = 0;
  for (const [field, value] of Object.entries(classic)) {
    if (value !== saturated) continue;
    if (!wide || position + 8 > wide.length) {
      throw invalid(`its ${field} is in a ZIP64 field that is missing`, {
        entry: owner.name,
        expected: 'a ZIP64 extra field; build the ZIP again',
      });
    }
    values[field] = safeInteger(wide.readBigUInt64LE(position), owner.name);
    position += 8;
  }
  if (wide && position !== wide.length && !lenient) {
    throw invalid('its ZIP64 field holds values that the header does not call for', {
      entry: owner.name,
      expected: 'one size for one entry; build the ZIP again without ZIP64',
    });
  }
  return values as Fields;
}

function extraFields(extra: Buffer, owner: Owner): Map<number, Buffer> {
  const fields = new Map<number, Buffer>();
  let position = 0;
  // Up to three bytes may remain: some aligners pad with less than a field's header.
  while (position + 4 <= extra.length) {
    const id = extra.readUInt16LE(position);
    const end = position + 4 + extra.readUInt16LE(position + 2);
    const known = id === zip64Id || id === unicodePathId;
    if (end > extra.length || (known && fields.has(id))) {
      throw invalid('its extra fields are malformed', {
        entry: owner.name,
        expected: 'well-formed extra fields; build the ZIP again',
      });
    }
    fields.set(id, extra.subarray(position + 4, end));
    position = end;
  }
  return fields;
}

/** A 64-bit size as a number; nothing near 2^53 can be real. */
export function safeInteger(value: bigint, entry?: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw invalid(`it declares the impossible size ${value}`, {
      ...(entry === undefined ? {} : { entry }),
      expected: 'real sizes; build the ZIP again',
    });
  }
  return Number(value);
}
