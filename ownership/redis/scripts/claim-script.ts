/**
 * Many claims at once, at the price of a few: all records are read by one command and written by another, the fences are taken in one step, and
 * each host is told once how many keys it got. What comes out is what claiming one key after the other would have given, fences included;
 * the differential test holds it against just that.
 *
 * Hosts are chosen from a heap of those that could get one of these keys: with n keys to give, none but the first n of each capacity.
 */
import { baseThatGrows } from './base.lua.ts';
import { keys } from './keys.lua.ts';
import { defineScript, lua } from './script.ts';

/** Lua takes no more than about 8,000 arguments in one call. */
const atOnce = 1_000;

/** Takes a pool, then keys. Gives { a record or the reason why there is none, for each key; sessions }. */
export const claimScript = defineScript(
  'claim',
  baseThatGrows,
  keys,
  lua`
local pool, outcomes = ARGV[3], {}

-- What there is. Who is asked for twice is given once.
local wanted, firstOf, again = {}, {}, {}
for first = 4, #ARGV, ${atOnce} do
  local last = math.min(first + ${atOnce - 1}, #ARGV)
  local texts = call('HMGET', claimsOf(pool), unpack(ARGV, first, last))
  for index = first, last do
    local key, text, at = ARGV[index], texts[index - first + 1], index - 3
    local session, flags = '', ''
    if text then session, flags = string.match(text, '^%d+:([^:]*):(%a*)$') end
    if string.find(flags, 'p', 1, true) then outcomes[at] = 'paused'
    elseif live(session) then
      outcomes[at] = text
      mention(session)
    elseif collecting then outcomes[at] = 'recovering'
    elseif firstOf[key] then again[#again + 1] = at
    else
      firstOf[key] = at
      wanted[#wanted + 1] = { at = at, key = key, flags = flags }
    end
  end
end

local heap = {}
local function rather(one, other)
  local by = one.keys * other.capacity - other.keys * one.capacity
  if by == 0 then by = one.keys - other.keys end
  return by < 0 or (by == 0 and before(one.id, other.id))
end
local function add(one)
  local at = #heap + 1
  while at > 1 do
    local above = math.floor(at / 2)
    if not rather(one, heap[above]) then break end
    heap[at], at = heap[above], above
  end
  heap[at] = one
end
local function sinkFirst()
  local one, at, size = heap[1], 1, #heap
  while 2 * at <= size do
    local below = 2 * at
    if below < size and rather(heap[below + 1], heap[below]) then below = below + 1 end
    if not rather(heap[below], one) then break end
    heap[at], at = heap[below], below
  end
  heap[at] = one
end
if #wanted > 0 then
  for _, capacity in ipairs(call('SMEMBERS', sharesOf(pool))) do
    local found = call('ZRANGE', loadOf(pool, capacity), 0, #wanted - 1, 'WITHSCORES')
    for index = 1, #found, 2 do
      add({ id = found[index], keys = tonumber(found[index + 1]), capacity = tonumber(capacity), got = {} })
    end
  end
end

if heap[1] then
  call('HINCRBY', META, 'fence', #wanted)
  local last = call('HGET', META, 'fence')
  local high, low = tonumber(string.sub(last, 1, -11)) or 0, tonumber(string.sub(last, -10))
  -- So many below the last one, as digits: of more than a number can hold.
  local function fenceBelow(by)
    local upper, lower = high, low - by
    if lower < 0 then upper, lower = upper - 1, lower + 1e10 end
    if upper == 0 then return string.format('%.0f', lower) end
    return string.format('%.0f%010.0f', upper, lower)
  end
  local saved = {}
  for index, one in ipairs(wanted) do
    local owner = heap[1]
    owner.keys = owner.keys + 1
    owner.got[#owner.got + 1] = 0
    owner.got[#owner.got + 1] = one.key
    local text = fenceBelow(#wanted - index) .. ':' .. owner.id .. ':' .. one.flags
    outcomes[one.at] = text
    saved[#saved + 1] = one.key
    saved[#saved + 1] = text
    mention(owner.id)
    sinkFirst()
  end
  for first = 1, #saved, ${2 * atOnce} do
    call('HSET', claimsOf(pool), unpack(saved, first, math.min(first + ${2 * atOnce - 1}, #saved)))
  end
  for _, owner in ipairs(heap) do
    for first = 1, #owner.got, ${2 * atOnce} do
      local last = math.min(first + ${2 * atOnce - 1}, #owner.got)
      count(owner.id, call('ZADD', ownedOf(owner.id), unpack(owner.got, first, last)))
    end
  end
else
  for _, one in ipairs(wanted) do outcomes[one.at] = 'no-live-host' end
end
for _, at in ipairs(again) do outcomes[at] = outcomes[firstOf[ARGV[at + 3]]] end
return { outcomes, sessions }
`,
);
