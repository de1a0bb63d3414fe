/**
 * The head of every script but `attach`: who asks, what time it is, and that what has expired is over.
 *
 * KEYS[1] `<prefix>meta`   KEYS[2], KEYS[3] the channels of events and of documents
 * ARGV[1] nonce of the incarnation that the caller is attached to
 * ARGV[2] milliseconds: the earliest that the store's time can be, by the caller's own monotonic clock
 * Codes: HFFORGOTTEN, HFAGAIN
 *
 * The names (all begin with the prefix):
 *   meta            hash    nonce, server, fence (the one counter), nowMs and wallMs (store's time, and Redis's when it was that), collectUntilMs
 *   ends            zset    session id → end, milliseconds of the store's time
 *   session:<id>    hash    pool process node address owns capacity ttl attempt draining ready. It exists exactly while the session is live
 *   pool:<pool>     zset    ids of its live sessions, in byte order (all scores are 0)
 *   load:<capacity>:<pool>  zset  id → number of keys, of the pool's sessions with this capacity that may get keys
 *   shares:<pool>   set     the capacities for which there is such a set
 *   owned:<id>      zset    keys whose record names this live session, in byte order: what it owns, how many, and the pages of lists
 *   claims:<pool>   hash    key → `<fence>:<session id or nothing>:<flags>`; o: was opened, p: is paused
 *   alarms:<pool>   zset    key → epoch milliseconds
 *   parked:<pool>   zset    the same, for keys that are paused: their alarms wait
 *   dead            zset    processes with proof of death → when
 *   attempt:<process>  string  its highest attempt; goes away by itself when that session has ended
 *   document:<name> hash    content, etag
 *
 * Strings are never compared with `<` here: Lua asks the server's locale, which may order bytes otherwise. Order comes from sorted
 * sets, whose members Redis compares as bytes. Numbers above 2^53 (fences) stay text.
 */
import { lua } from './script.ts';

/** How far the store's time may run ahead of what the caller's own clock confirms, milliseconds. Less than a host's margin. */
const aheadMaxMs = 200;

const endsPerCallMax = 1_000;
/** For how long the attempts of a process without a session are remembered; far longer than a connection keeps a message. */
export const attemptKeptMs = 3_600_000;
/** The time is written back this rarely, so that reading does not fill the log of writes. */
const timeWrittenEveryMs = 50;

/** Names and helpers that need neither nonce nor time. */
export const names = lua`
local call, META, CHANNEL = redis.call, KEYS[1], KEYS[2]
local prefix = string.sub(META, 1, -5)
local ENDS, DEAD = prefix .. 'ends', prefix .. 'dead'
local function sessionOf(id) return prefix .. 'session:' .. id end
local function ownedOf(id) return prefix .. 'owned:' .. id end
local function poolOf(pool) return prefix .. 'pool:' .. pool end
local function loadOf(pool, capacity) return prefix .. 'load:' .. capacity .. ':' .. pool end
local function sharesOf(pool) return prefix .. 'shares:' .. pool end
local function claimsOf(pool) return prefix .. 'claims:' .. pool end
local function attemptOf(process) return prefix .. 'attempt:' .. process end
local function alarmsOf(pool, paused) return prefix .. (paused and 'parked:' or 'alarms:') .. pool end
local function tell(event) call('PUBLISH', CHANNEL, cjson.encode(event)) end
local function timeOfDayMs()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
-- Whether one fence is lower than another; both are digits without leading zeros, of more than a number can hold.
local function less(fence, other)
  if #fence ~= #other then return #fence < #other end
  local high, otherHigh = tonumber(string.sub(fence, 1, -11)) or 0, tonumber(string.sub(other, 1, -11)) or 0
  if high ~= otherHigh then return high < otherHigh end
  return tonumber(string.sub(fence, -10)) < tonumber(string.sub(other, -10))
end
-- Puts a session among those that may get keys, or takes it away, after one of its facts has changed.
local function weigh(id, pool, capacity, eligible)
  local load = loadOf(pool, capacity)
  if eligible then
    call('ZADD', load, call('ZCARD', ownedOf(id)), id)
    call('SADD', sharesOf(pool), capacity)
  else
    call('ZREM', load, id)
    if call('EXISTS', load) == 0 then call('SREM', sharesOf(pool), capacity) end
  end
end
local function endSession(id, reason)
  local session = call('HMGET', sessionOf(id), 'pool', 'capacity', 'process', 'attempt')
  local pool, process = session[1], session[3]
  call('ZREM', ENDS, id)
  if not pool then return end
  if session[4] == call('GET', attemptOf(process)) then call('PEXPIRE', attemptOf(process), ${attemptKeptMs}) end
  call('UNLINK', sessionOf(id), ownedOf(id))
  call('ZREM', poolOf(pool), id)
  weigh(id, pool, session[2], false)
  tell({ type = 'session-ended', sessionId = id, pool = pool, reason = reason })
end
`;

/**
 * A call that changes nothing, but is refused where writing is: by a replica, by a master that has lost its replicas (if so configured).
 * So that nobody who only reads believes a store that may not be the one any more.
 */
const mustBeWritable = lua`call('PERSIST', META)`;
/** The same for what takes more memory: also refused when there is none left. All other scripts go on then, above all renewals. */
const mustHaveRoom = lua`call('HSETNX', META, 'nonce', ARGV[1])`;

const entry = (gate: string) => lua`
local meta = call('HMGET', META, 'nonce', 'nowMs', 'wallMs', 'collectUntilMs')
if meta[1] ~= ARGV[1] then return redis.error_reply('HFFORGOTTEN another incarnation') end
${gate}
local wallMs = timeOfDayMs()
local elapsedMs = math.max(0, wallMs - meta[3])
local latestMs = math.max(meta[2], ARGV[2]) + ${aheadMaxMs}
local nowMs = math.min(meta[2] + elapsedMs, latestMs)
if elapsedMs >= ${timeWrittenEveryMs} or wallMs < tonumber(meta[3]) then
  call('HSET', META, 'nowMs', nowMs, 'wallMs', wallMs)
end
local collecting = nowMs < tonumber(meta[4])
local over = call('ZRANGEBYSCORE', ENDS, '-inf', nowMs, 'LIMIT', 0, ${endsPerCallMax})
for _, id in ipairs(over) do endSession(id, 'expired') end
if #over == ${endsPerCallMax} then return redis.error_reply('HFAGAIN more may have expired') end
`;

export const base = names + entry(mustBeWritable);
export const baseThatGrows = names + entry(mustHaveRoom);
