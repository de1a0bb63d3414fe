/** Scripts that walk over everything, for a backup. ARGV from 3 on; heads and codes: `base.lua.ts`. */
import { base } from './base.lua.ts';
import { keys } from './keys.lua.ts';
import { defineScript, lua } from './script.ts';

/** Names that one step looks at: few milliseconds. */
const namesPerStep = 5_000;

/** Takes Redis's cursor. Gives { the next cursor, '0' at the end; pools that have records, found on the way }. */
export const poolsScript = defineScript(
  'pools',
  base,
  lua`
local start = prefix .. 'claims:'
-- What means something in a pattern is taken for any one character; what does not fit is left out below.
local found = call('SCAN', ARGV[3], 'COUNT', ${namesPerStep}, 'MATCH', string.gsub(start, '[%[%]*?\\]', '?') .. '*')
local pools = {}
for _, name in ipairs(found[2]) do
  if string.sub(name, 1, #start) == start then pools[#pools + 1] = string.sub(name, #start + 1) end
end
return { found[1], pools }
`,
);

/** Takes a pool, Redis's cursor, about how many. Gives { the next cursor, '0' at the end; key, record, alarm or nothing, and so on }. */
export const recordsScript = defineScript(
  'records',
  base,
  keys,
  lua`
local pool = ARGV[3]
local found = call('HSCAN', claimsOf(pool), ARGV[4], 'COUNT', ARGV[5])
local records = {}
for index = 1, #found[2], 2 do
  local key = found[2][index]
  local record = find(pool, key)
  records[#records + 1] = key
  records[#records + 1] = found[2][index + 1]
  records[#records + 1] = call('ZSCORE', alarmsOf(pool, record.paused), key) or ''
end
return { found[1], records }
`,
);
