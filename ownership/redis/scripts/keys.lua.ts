/**
 * Keys and their records, as `ownership/directory/keys.ts` decides about them; a differential test holds the two against each other.
 * Follows `base`. Scripts that speak of claims answer `{ records, sessions }`: the records' texts, and of each session that they
 * name id, process, node and address, flat and once.
 */
import { lua } from './script.ts';

export const keys = lua`
local facts, answered = {}, {}
local sessions = {}
local function live(id)
  if id == '' then return false end
  if facts[id] == nil then
    local found = call('HMGET', sessionOf(id), 'process', 'node', 'address', 'pool', 'capacity', 'owns', 'draining', 'ready')
    found.pool, found.capacity = found[4], found[5]
    found.eligible = found[6] == '1' and found[7] == '0' and found[8] == '1'
    facts[id] = found[1] and found or false
  end
  return facts[id]
end
local function mention(id)
  if answered[id] then return end
  answered[id] = true
  local found = live(id)
  sessions[#sessions + 1] = id
  for index = 1, 3 do sessions[#sessions + 1] = found[index] end
end

local function find(pool, key)
  local text = call('HGET', claimsOf(pool), key)
  if not text then return nil end
  local fence, session, flags = string.match(text, '^(%d+):([^:]*):(%a*)$')
  return {
    text = text, fence = fence, session = session,
    opened = string.find(flags, 'o', 1, true) ~= nil, paused = string.find(flags, 'p', 1, true) ~= nil,
  }
end
local function create() return { fence = '0', session = '', opened = false, paused = false } end
local function save(pool, key, record)
  record.text = record.fence .. ':' .. record.session .. ':' ..
    (record.opened and 'o' or '') .. (record.paused and 'p' or '')
  call('HSET', claimsOf(pool), key, record.text)
end
local function held(pool, key, id, fence)
  local record = find(pool, key)
  if record and record.session == id and record.fence == fence and live(id) then return record end
  return nil
end

local function nextFence()
  call('HINCRBY', META, 'fence', 1)
  return call('HGET', META, 'fence')
end
local function fenceSeen(fence)
  if less(call('HGET', META, 'fence'), fence) then call('HSET', META, 'fence', fence) end
end

-- Byte order, which the server's locale may not have.
local function before(id, other)
  for index = 1, math.min(#id, #other) do
    local one, two = string.byte(id, index), string.byte(other, index)
    if one ~= two then return one < two end
  end
  return #id < #other
end
-- Fewest keys per capacity, then fewest keys, then the first id. Among sessions of one capacity that is the first of their set. Multiplied
-- crosswise, because division would make ties depend on rounding.
local sharesIn = {}
local function choose(pool, except)
  sharesIn[pool] = sharesIn[pool] or call('SMEMBERS', sharesOf(pool))
  local best = nil
  for _, capacity in ipairs(sharesIn[pool]) do
    local found = call('ZRANGE', loadOf(pool, capacity), 0, except and 1 or 0, 'WITHSCORES')
    local at = except and found[1] == except and 3 or 1
    if found[at] then
      local one = { id = found[at], keys = tonumber(found[at + 1]), capacity = tonumber(capacity) }
      local by = best and one.keys * best.capacity - best.keys * one.capacity
      if by == 0 then by = one.keys - best.keys end
      if not best or by < 0 or (by == 0 and before(one.id, best.id)) then best = one end
    end
  end
  return best and best.id
end
local function mayTake(pool, id)
  local session = live(id)
  return session and session.pool == pool and session.eligible
end

local function count(id, by)
  local session = live(id)
  if session and session.eligible then call('ZINCRBY', loadOf(session.pool, session.capacity), by, id) end
end
local function give(pool, key, record, id, fence)
  if record.session ~= '' and call('ZREM', ownedOf(record.session), key) == 1 then count(record.session, -1) end
  record.session, record.fence = id, fence
  if call('ZADD', ownedOf(id), 0, key) == 1 then count(id, 1) end
  save(pool, key, record)
end
local function giveUp(pool, key, record)
  if call('ZREM', ownedOf(record.session), key) == 1 then count(record.session, -1) end
  record.session = ''
  save(pool, key, record)
  tell({ type = 'released', pool = pool, key = key, fence = record.fence })
end
local function setPaused(pool, key, record, paused)
  if record.paused == paused then return end
  local atMs = call('ZSCORE', alarmsOf(pool, record.paused), key)
  if atMs then
    call('ZREM', alarmsOf(pool, record.paused), key)
    call('ZADD', alarmsOf(pool, paused), atMs, key)
  end
  record.paused = paused
  save(pool, key, record)
  tell({ type = paused and 'paused' or 'resumed', pool = pool, key = key })
end
local function tellMoved(pool, key, record, from)
  local to = live(record.session)
  tell({
    type = 'moved', pool = pool, key = key, record = record.text, from = from,
    session = { record.session, to[1], to[2], to[3] },
  })
end
`;

/** Keeps a key where it is, as `Keys.adopt` does; returns whether. */
export const adoption = lua`
local function adopt(pool, key, id, fence, opened, alarmAtMs)
  fenceSeen(fence)
  local record = find(pool, key)
  if record and record.session == id and record.fence == fence then return true end
  local from = record and record.session or ''
  local fromLives = live(from)
  local unchanged = record and record.fence == fence and from ~= '' and not fromLives
  local forgotten = collecting and (not record or less(record.fence, fence))
  if not unchanged and not forgotten then return false end
  record = record or create()
  record.opened = record.opened or opened
  give(pool, key, record, id, fence)
  if collecting and alarmAtMs ~= '' then call('ZADD', alarmsOf(pool, record.paused), alarmAtMs, key) end
  if fromLives and from ~= id then tellMoved(pool, key, record, from) end
  return true
end
-- ARGV from there on: key, fence, '1' if it was opened, alarm (epoch milliseconds or nothing), and so on.
local function adoptAll(id, first)
  local pool = call('HGET', sessionOf(id), 'pool')
  local refused = {}
  for index = first, #ARGV, 4 do
    local key = ARGV[index]
    if not pool or not adopt(pool, key, id, ARGV[index + 1], ARGV[index + 2] == '1', ARGV[index + 3]) then
      refused[#refused + 1] = key
    end
  end
  return refused
end
`;
