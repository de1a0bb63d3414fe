/** The first script on every connection: is this the Redis that remembers? Why: `../coordination.ts`. */
import { attemptKeptMs, names } from './base.lua.ts';
import { defineScript, lua } from './script.ts';

/** The longest pace of `expireScript` in any client, and some more. */
const sinceLastCallMaxMs = 1_500;

/**
 * KEYS as `base`. ARGV[1] a fresh nonce  ARGV[2] longest time to live of a session, milliseconds
 * Gives { nonce of the incarnation, store's time in milliseconds }
 * Codes: HFREPLICA, HFEVICTS, HFTOOOLD
 *
 * `server` is the run id and the id of the replication history. The first changes with every start of a Redis, the second when one that
 * was demoted is promoted again, with another's data in its memory. Either may mean that something was forgotten, and nothing in
 * Redis tells for sure that it was not: so it is treated as if everything that was granted before was.
 */
export const attachScript = defineScript(
  'attach',
  names,
  lua`
local info = call('INFO', 'server') .. call('INFO', 'replication') .. call('INFO', 'memory')
local function fact(name) return string.match(info, '\n' .. name .. ':([^\r\n]*)') or '' end
if fact('role') ~= 'master' then return redis.error_reply('HFREPLICA not a master') end
if fact('maxmemory') ~= '0' and fact('maxmemory_policy') ~= 'noeviction' then
  return redis.error_reply('HFEVICTS keys')
end
local major, minor = string.match(fact('redis_version'), '^(%d+)%.(%d+)')
if tonumber(major or 0) * 1000 + tonumber(minor or 0) < 6002 then return redis.error_reply('HFTOOOLD version') end

local server = fact('run_id') .. ' ' .. fact('master_replid')
local meta = call('HMGET', META, 'nonce', 'server', 'fence')
local wallMs = timeOfDayMs()
if not meta[1] or meta[2] ~= server then
  for _, id in ipairs(call('ZRANGE', ENDS, 0, -1)) do
    local session = call('HMGET', sessionOf(id), 'pool', 'capacity', 'process')
    local pool = session[1]
    call('UNLINK', sessionOf(id), ownedOf(id))
    if session[3] then call('PEXPIRE', attemptOf(session[3]), ${attemptKeptMs}) end
    if pool then call('UNLINK', poolOf(pool), sharesOf(pool), loadOf(pool, session[2])) end
  end
  call('UNLINK', ENDS)
  -- Nanoseconds since 1970, as text: above every fence that can have been given out at a nanosecond each.
  local time = call('TIME')
  local fence = time[1] .. string.format('%06d', time[2]) .. '000'
  if meta[3] and less(fence, meta[3]) then fence = meta[3] end
  meta[1] = ARGV[1]
  call('HSET', META, 'nonce', meta[1], 'server', server, 'fence', fence,
    'nowMs', wallMs, 'wallMs', wallMs, 'collectUntilMs', wallMs + ARGV[2])
  tell({ type = 'reset' })
end
-- The caller knows of no time yet. Other clients ask at least every second, so more than a little since then is not believed.
local time = call('HMGET', META, 'nowMs', 'wallMs')
local elapsedMs = math.max(0, timeOfDayMs() - time[2])
return { meta[1], tostring(time[1] + math.min(elapsedMs, ${sinceLastCallMaxMs})) }
`,
);
