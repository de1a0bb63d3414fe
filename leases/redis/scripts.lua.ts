/**
 * What runs inside each Redis master. Every script is one atomic step on one master; that a majority must agree is the callers' matter.
 *
 * The record of a lease is a hash with an expiry: `token` (of the attempt that took it), `holder`, `fence`. Redis counts an expired
 * key as absent at once, whenever it may remove it, so expiry needs no code. `meta` holds the last fence of this master and
 * since when it remembers (`bornMs`; 0: from the beginning). The index lists names, in byte order; entries without a record are swept.
 *
 * Fences are decimal text of up to 19 digits and never become Lua numbers, which are doubles.
 *
 * These are TypeScript files with Lua inside, because then they are found both when Node runs the source and in a bundle.
 */

/** The order of fences as text, and the next one: above the last, and at least the microseconds since 1970. */
const prelude = String.raw`
local function below(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end
local time = redis.call('TIME')
local nowMs = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
`;

/**
 * Takes the lease for a holder, if nobody has it here.
 *
 * KEYS  1 record · 2 meta · 3 index
 * ARGV  1 token · 2 time to live, ms · 3 holder · 4 name · 5 what records' keys begin with · 6 channel for changes
 * out   {1, fence, ms left}          taken, under this master's fence
 *       {2, fence, ms left, holder}  somebody has it (it may be the same holder); nothing changed
 *       {3, ms}                      this master lost its memory lately and stays out of it for so long; nothing changed
 */
export const acquireScript = String.raw`${prelude}
local born = redis.call('HGET', KEYS[2], 'bornMs')
if not born or tonumber(born) > nowMs then
  born = nowMs
  redis.call('HSET', KEYS[2], 'bornMs', string.format('%d', nowMs))
end
local record = redis.call('HMGET', KEYS[1], 'holder', 'fence')
if record[1] then
  return {2, record[2], redis.call('PTTL', KEYS[1]), record[1]}
end
local ttlMs = tonumber(ARGV[2])
if tonumber(born) + ttlMs > nowMs then
  return {3, tonumber(born) + ttlMs - nowMs}
end
local clock = time[1] .. string.format('%06d', tonumber(time[2]))
local last = redis.call('HGET', KEYS[2], 'fence')
if not last or below(last, clock) then
  redis.call('HSET', KEYS[2], 'fence', clock)
else
  redis.call('HINCRBY', KEYS[2], 'fence', 1)
end
local fence = redis.call('HGET', KEYS[2], 'fence')
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'holder', ARGV[3], 'fence', fence)
redis.call('PEXPIRE', KEYS[1], ttlMs)
redis.call('ZADD', KEYS[3], 0, ARGV[4])
for _, name in ipairs(redis.call('ZRANDMEMBER', KEYS[3], 2)) do
  if redis.call('EXISTS', ARGV[5] .. name) == 0 then redis.call('ZREM', KEYS[3], name) end
end
redis.call('PUBLISH', ARGV[6], ARGV[4])
return {1, fence, ttlMs}
`;

/**
 * Gives a lease that was just taken the fence that the masters agreed on, and lifts this master's own to it.
 *
 * KEYS  1 record · 2 meta
 * ARGV  1 token · 2 fence · 3 name · 4 channel for changes
 * out   {1, fence, ms left}          done
 *       {0}                          the record is another's, or gone; nothing changed
 */
export const settleScript = String.raw`${prelude}
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return {0} end
redis.call('HSET', KEYS[1], 'fence', ARGV[2])
local last = redis.call('HGET', KEYS[2], 'fence')
if not last or below(last, ARGV[2]) then redis.call('HSET', KEYS[2], 'fence', ARGV[2]) end
redis.call('PUBLISH', ARGV[4], ARGV[3])
return {1, ARGV[2], redis.call('PTTL', KEYS[1])}
`;

/**
 * Extends a lease of this holder and fence; never shortens it.
 *
 * KEYS  1 record
 * ARGV  1 fence:holder · 2 time to live, ms
 * out   {1, fence, ms left}          extended, or it lasts longer anyway
 *       {2, fence, ms left, holder}  another holding has it; nothing changed
 *       {0}                          nobody has it; nothing changed
 */
export const extendScript = String.raw`
local record = redis.call('HMGET', KEYS[1], 'holder', 'fence')
if not record[1] then return {0} end
local leftMs = redis.call('PTTL', KEYS[1])
if record[2] .. ':' .. record[1] ~= ARGV[1] then return {2, record[2], leftMs, record[1]} end
local ttlMs = tonumber(ARGV[2])
if leftMs < ttlMs then
  redis.call('PEXPIRE', KEYS[1], ttlMs)
  leftMs = ttlMs
end
return {1, record[2], leftMs}
`;

/**
 * Ends a lease: of a holder and fence, or of an attempt that is being undone.
 *
 * KEYS  1 record · 2 index
 * ARGV  1 fence:holder, or token · 2 name · 3 channel for changes
 * out   {1}                          ended
 *       {0}                          it was not theirs; nothing changed
 */
export const releaseScript = String.raw`
local record = redis.call('HMGET', KEYS[1], 'holder', 'fence', 'token')
if not record[1] then return {0} end
if record[3] ~= ARGV[1] and record[2] .. ':' .. record[1] ~= ARGV[1] then return {0} end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('PUBLISH', ARGV[3], ARGV[2])
return {1}
`;

/**
 * KEYS  1 record
 * out   {2, fence, ms left, holder}  who has it here
 *       {0}                          nobody
 */
export const inspectScript = String.raw`
local record = redis.call('HMGET', KEYS[1], 'holder', 'fence')
if not record[1] then return {0} end
return {2, record[2], redis.call('PTTL', KEYS[1]), record[1]}
`;

/**
 * A page of what is leased here, by name; forgets names without a record that it meets.
 *
 * KEYS  1 index
 * ARGV  1 what records' keys begin with · 2 where to begin and 3 to end, as ZRANGEBYLEX wants it · 4 names at most
 * out   {last name looked at, or '' when there are no more, then name, holder, fence, ms left for each}
 */
export const listScript = String.raw`
local names = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
local out = {''}
if #names == tonumber(ARGV[4]) then out[1] = names[#names] end
for _, name in ipairs(names) do
  local record = redis.call('HMGET', ARGV[1] .. name, 'holder', 'fence')
  if record[1] then
    out[#out + 1] = name
    out[#out + 1] = record[1]
    out[#out + 1] = record[2]
    out[#out + 1] = redis.call('PTTL', ARGV[1] .. name)
  else
    redis.call('ZREM', KEYS[1], name)
  end
end
return out
`;

/**
 * KEYS  1 meta
 * out   {1}                          this master remembers something
 *       {0}                          it does not: new, or it lost its memory
 */
export const remembersScript = String.raw`
return {redis.call('EXISTS', KEYS[1])}
`;

/**
 * Notes since when this master remembers, if it does not know. Run with 0 on the first use of all masters, and without whenever a
 * connection has come back: so that a loss of memory is noted as early as possible.
 *
 * KEYS  1 meta
 * ARGV  1 since when, ms since 1970; absent: now
 * out   {1}
 */
export const rememberScript = String.raw`${prelude}
redis.call('HSETNX', KEYS[1], 'bornMs', ARGV[1] or string.format('%d', nowMs))
return {1}
`;
