/** Scripts about keys. ARGV from 3 on; heads and codes: `base.lua.ts`. What they answer about claims: `keys.lua.ts`. */
import { base, baseThatGrows } from './base.lua.ts';
import { keys } from './keys.lua.ts';
import { defineScript, lua } from './script.ts';

export { claimScript } from './claim-script.ts';

/** Takes pool, key. Gives { { the record of a live owner }, sessions }. */
export const lookupScript = defineScript(
  'lookup',
  base,
  keys,
  lua`
local record = find(ARGV[3], ARGV[4])
if not record or not live(record.session) then return { {}, {} } end
mention(record.session)
return { { record.text }, sessions }
`,
);

/** Takes pool, key, session, the fence to get above. Gives as lookup does; nothing if the session does not own it. */
export const raiseScript = defineScript(
  'raise',
  base,
  keys,
  lua`
local pool, key, id, above = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local record = find(pool, key)
if not record or record.session ~= id or not live(id) then return { {}, {} } end
fenceSeen(above)
fenceSeen(record.fence)
record.fence = nextFence()
save(pool, key, record)
mention(id)
return { { record.text }, sessions }
`,
);

/** Takes pool, key, session, fence. Gives whether they hold the key. */
export const confirmScript = defineScript(
  'confirm',
  base,
  keys,
  lua`
local record = held(ARGV[3], ARGV[4], ARGV[5], ARGV[6])
if not record then return 0 end
if not record.opened then
  record.opened = true
  save(ARGV[3], ARGV[4], record)
end
return 1
`,
);

/** Takes pool, key, session, fence, and so on. Gives whether they held the key, for each. */
export const releaseScript = defineScript(
  'release',
  base,
  keys,
  lua`
local released = {}
for index = 3, #ARGV, 4 do
  local pool, key = ARGV[index], ARGV[index + 1]
  local record = held(pool, key, ARGV[index + 2], ARGV[index + 3])
  if record then giveUp(pool, key, record) end
  released[#released + 1] = record and 1 or 0
end
return released
`,
);

/** Takes pool, key, session, fence, the session to go to or nothing. Gives { whether held, { new record if any }, sessions }. */
export const transferScript = defineScript(
  'transfer',
  base,
  keys,
  lua`
local pool, key, from, to = ARGV[3], ARGV[4], ARGV[5], ARGV[7]
local record = held(pool, key, from, ARGV[6])
if not record then return { 0, {}, {} } end
local target = nil
if not record.paused then target = to ~= from and mayTake(pool, to) and to or choose(pool, from) end
if not target then
  giveUp(pool, key, record)
  return { 1, {}, {} }
end
give(pool, key, record, target, nextFence())
tellMoved(pool, key, record, from)
mention(target)
return { 1, { record.text }, sessions }
`,
);

/** Takes pool, key. Gives as lookup does: who owns it still. */
export const pauseScript = defineScript(
  'pause',
  baseThatGrows,
  keys,
  lua`
local pool, key = ARGV[3], ARGV[4]
local record = find(pool, key) or create()
setPaused(pool, key, record, true)
if not live(record.session) then return { {}, {} } end
mention(record.session)
return { { record.text }, sessions }
`,
);

/** Takes pool, key. Gives whether it was paused. */
export const resumeScript = defineScript(
  'resume',
  base,
  keys,
  lua`
local pool, key = ARGV[3], ARGV[4]
local record = find(pool, key)
if not record or not record.paused then return 0 end
setPaused(pool, key, record, false)
return 1
`,
);

/** Takes pool, key. Gives whether it is paused. */
export const pausedScript = defineScript(
  'paused',
  base,
  keys,
  lua`
local record = find(ARGV[3], ARGV[4])
return record and record.paused and 1 or 0
`,
);

/** Takes pool, key, session, fence, epoch milliseconds or nothing. Gives whether they hold the key. */
export const setAlarmScript = defineScript(
  'set alarm',
  baseThatGrows,
  keys,
  lua`
local pool, key, atMs = ARGV[3], ARGV[4], ARGV[7]
local record = held(pool, key, ARGV[5], ARGV[6])
if not record then return 0 end
local alarms = alarmsOf(pool, record.paused)
if atMs == '' then call('ZREM', alarms, key) else call('ZADD', alarms, atMs, key) end
return 1
`,
);

/** Takes pool, key, session, fence, the alarm's epoch milliseconds. Gives whether they hold the key. */
export const settleAlarmScript = defineScript(
  'settle alarm',
  base,
  keys,
  lua`
local pool, key = ARGV[3], ARGV[4]
local record = held(pool, key, ARGV[5], ARGV[6])
if not record then return 0 end
-- Another alarm may have been set meanwhile, by the very handler that this one woke.
local alarms = alarmsOf(pool, record.paused)
local atMs = call('ZSCORE', alarms, key)
if atMs and tonumber(atMs) == tonumber(ARGV[7]) then call('ZREM', alarms, key) end
return 1
`,
);

/** Takes pool, limit. Gives { { key, epoch milliseconds, … } of those due by Redis's time of day, milliseconds until the next or nothing }. */
export const dueAlarmsScript = defineScript(
  'due alarms',
  base,
  lua`
local alarms = alarmsOf(ARGV[3], false)
local due = call('ZRANGEBYSCORE', alarms, '-inf', wallMs, 'WITHSCORES', 'LIMIT', 0, ARGV[4])
local following = call('ZRANGE', alarms, #due / 2, #due / 2, 'WITHSCORES')
return { due, following[2] and tostring(math.max(0, following[2] - wallMs)) or '' }
`,
);

/**
 * Takes a fence to go on above, then pool, key, fence, whether it was opened, whether it is paused, alarm (epoch milliseconds or nothing),
 * and so on. Gives pool and key of those refused.
 */
export const importScript = defineScript(
  'import',
  baseThatGrows,
  keys,
  lua`
fenceSeen(ARGV[3])
-- Nanoseconds since 1970, as text: why, says ownership/directory/import-floor.ts.
local time = call('TIME')
fenceSeen(time[1] .. string.format('%06d', time[2]) .. '000')
local refused = {}
for index = 4, #ARGV, 6 do
  local pool, key, fence, opened = ARGV[index], ARGV[index + 1], ARGV[index + 2], ARGV[index + 3] == '1'
  local record = find(pool, key) or create()
  if live(record.session) then
    refused[#refused + 1] = pool
    refused[#refused + 1] = key
  else
    local owned = less(fence, record.fence)
    record.opened = record.opened or opened
    if not owned then record.fence, record.session = fence, '' end
    save(pool, key, record)
    if not owned then
      setPaused(pool, key, record, ARGV[index + 4] == '1')
      local alarms, atMs = alarmsOf(pool, record.paused), ARGV[index + 5]
      if atMs == '' then call('ZREM', alarms, key) else call('ZADD', alarms, atMs, key) end
    end
  end
end
return refused
`,
);

/**
 * One stretch of a list. Takes pool, session, lowest key and highest key as ZRANGEBYLEX writes them, limit.
 * Gives for each session that may own some: { id, process, node, address, pool,
 * '1' if it owns more than these, { key, record, … } in byte order }. The caller merges them.
 */
export const listScript = defineScript(
  'list',
  base,
  keys,
  lua`
local onlyPool, onlySession, limit = ARGV[3], ARGV[4], tonumber(ARGV[7])
local ids = onlySession ~= '' and { onlySession }
  or onlyPool ~= '' and call('ZRANGE', poolOf(onlyPool), 0, -1)
  or call('ZRANGE', ENDS, 0, -1)
-- Twice the fair share: what one session has more than another is fetched in the next stretch. At least a few, because the first may
-- be the cursor's own key, which the caller drops.
local share = math.ceil(2 * limit / math.max(1, #ids)) + 8
local stretches = {}
for _, id in ipairs(ids) do
  local pool = call('HGET', sessionOf(id), 'pool')
  if pool and (onlyPool == '' or pool == onlyPool) then
    local found = call('ZRANGEBYLEX', ownedOf(id), ARGV[5], ARGV[6], 'LIMIT', 0, share + 1)
    local owner = live(id)
    local entries = {}
    for index = 1, math.min(share, #found) do
      entries[2 * index - 1] = found[index]
      entries[2 * index] = call('HGET', claimsOf(pool), found[index]) or ''
    end
    stretches[#stretches + 1] = { id, owner[1], owner[2], owner[3], pool, #found > share and '1' or '0', entries }
  end
end
return stretches
`,
);
