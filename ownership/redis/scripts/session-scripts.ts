/** Scripts about sessions. ARGV from 3 on; heads and codes: `base.lua.ts`. Flags are '1' and '0'. */
import { base, baseThatGrows } from './base.lua.ts';
import { adoption, keys } from './keys.lua.ts';
import { defineScript, lua, tellingTime } from './script.ts';

/** `{ id, pool, process, node, address, owns, capacity, draining, ready, keys }`, all as text. */
const describe = lua`
local function describe(id)
  local session = call('HMGET', sessionOf(id), 'pool', 'process', 'node', 'address', 'owns', 'capacity', 'draining', 'ready')
  table.insert(session, 1, id)
  session[10] = tostring(call('ZCARD', ownedOf(id)))
  return session
end
`;

const endAll = lua`
local function endAll(process, reason)
  local ended = 0
  for _, id in ipairs(call('ZRANGE', ENDS, 0, -1)) do
    if call('HGET', sessionOf(id), 'process') == process then
      endSession(id, reason)
      ended = ended + 1
    end
  end
  return ended
end
`;

/**
 * Takes id, pool, process, node, address, owns, capacity, ttl in milliseconds, whether to end earlier ones of the process, attempt;
 * then what the host still holds, as `adoptAll` reads it. Gives the keys refused. Codes: HFDEADPROCESS, HFLATEATTEMPT
 */
export const openScript = defineScript(
  'open',
  baseThatGrows,
  keys,
  adoption,
  describe,
  endAll,
  lua`
local id, pool, process, ttlMs = ARGV[3], ARGV[4], ARGV[5], ARGV[10]
if call('ZSCORE', DEAD, process) then return redis.error_reply('HFDEADPROCESS reported dead') end
-- Why: ownership/directory/sessions.ts. Numbers up to 2^53 are exact.
if tonumber(ARGV[12]) <= tonumber(call('GET', attemptOf(process)) or 0) then return redis.error_reply('HFLATEATTEMPT a later one was carried out') end
if ARGV[11] == '1' then endAll(process, 'closed') end
call('SET', attemptOf(process), ARGV[12])
call('HSET', sessionOf(id), 'pool', pool, 'process', process, 'node', ARGV[6], 'address', ARGV[7],
  'owns', ARGV[8], 'capacity', ARGV[9], 'ttl', ttlMs, 'attempt', ARGV[12], 'draining', '0', 'ready', '1')
call('ZADD', ENDS, nowMs + ttlMs, id)
call('ZADD', poolOf(pool), 0, id)
weigh(id, pool, ARGV[9], ARGV[8] == '1')
tell({ type = 'session-opened', session = describe(id) })
return adoptAll(id, 13)
`,
);

/** Takes id, then keys as `adoptAll` reads them. Gives those refused. */
export const adoptScript = defineScript(
  'adopt',
  baseThatGrows,
  keys,
  adoption,
  lua`return adoptAll(ARGV[3], 4)`,
);

/** Takes id. Gives { store's time, its ttl in milliseconds or nothing, whether the store collects }. */
export const renewScript = tellingTime(
  defineScript(
    'renew',
    base,
    lua`
local ttlMs = call('HGET', sessionOf(ARGV[3]), 'ttl')
if ttlMs then call('ZADD', ENDS, nowMs + ttlMs, ARGV[3]) end
return { tostring(nowMs), ttlMs or '', collecting and '1' or '0' }
`,
  ),
);

/** Takes id, draining, ready ('' leaves it). Gives whether it is live. */
export const updateScript = defineScript(
  'update',
  base,
  describe,
  lua`
local id = ARGV[3]
local before = call('HMGET', sessionOf(id), 'draining', 'ready', 'pool', 'capacity', 'owns')
if not before[1] then return 0 end
local draining = ARGV[4] == '' and before[1] or ARGV[4]
local ready = ARGV[5] == '' and before[2] or ARGV[5]
if draining ~= before[1] or ready ~= before[2] then
  call('HSET', sessionOf(id), 'draining', draining, 'ready', ready)
  weigh(id, before[3], before[4], before[5] == '1' and draining == '0' and ready == '1')
  tell({ type = 'session-changed', session = describe(id) })
end
return 1
`,
);

/** Takes id. */
export const closeScript = defineScript('close', base, lua`endSession(ARGV[3], 'closed')`);

/** How many dead processes are remembered. */
const deadMax = 10_000;

/** Takes a process that is proven dead. Gives how many sessions ended. */
export const diedScript = defineScript(
  'died',
  base,
  endAll,
  lua`
call('ZADD', DEAD, 'NX', nowMs, ARGV[3])
call('ZREMRANGEBYRANK', DEAD, 0, ${-deadMax - 1})
return endAll(ARGV[3], 'died')
`,
);

/** Takes a pool or nothing. Gives the sessions, each as `describe` does. */
export const sessionsScript = defineScript(
  'sessions',
  base,
  describe,
  lua`
local found = ARGV[3] == '' and call('ZRANGE', ENDS, 0, -1) or call('ZRANGE', poolOf(ARGV[3]), 0, -1)
for index, id in ipairs(found) do found[index] = describe(id) end
return found
`,
);

/** Ends what has expired when nobody else asks. Gives { store's time, milliseconds until the next session may end or nothing }. */
export const expireScript = tellingTime(
  defineScript(
    'expire',
    base,
    lua`
local first = call('ZRANGE', ENDS, 0, 0, 'WITHSCORES')
return { tostring(nowMs), first[2] and tostring(first[2] - nowMs) or '' }
`,
  ),
);
