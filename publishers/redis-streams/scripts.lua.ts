/**
 * What Redis does in one step. Each script is headed by its keys, arguments (with units), answer, and why it is one step.
 * Entries of streams are flat lists of field and value; `i` is the message's id, `b` its body, `h` its headers as JSON.
 */

/** Takes away what every group of the stream has handled. Used inside other scripts, too: `key` is the stream. */
const trimFunction = `
local function before(a, b)
  local am, as = string.match(a, '^(%d+)-(%d+)$')
  local bm, bs = string.match(b, '^(%d+)-(%d+)$')
  if am ~= bm then return tonumber(am) < tonumber(bm) end
  return tonumber(as) < tonumber(bs)
end
local function trim(key)
  local keep = nil
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    local facts = {}
    for index = 1, #group, 2 do facts[group[index]] = group[index + 1] end
    local id = facts['last-delivered-id']
    if tonumber(facts['pending']) > 0 then id = redis.call('XPENDING', key, facts['name'])[2] end
    if keep == nil or before(id, keep) then keep = id end
  end
  if keep then redis.call('XTRIM', key, 'MINID', keep) end
end
`;

export const scripts = {
  /**
   * KEYS  1 stream, 2 the id's own key
   * ARGV  1 entries at most, 2 duplicate window (ms, 0: none), 3 message id, 4 headers, 5 body
   * answers 'stored', 'known' (published before, not long ago), 'unwanted' (no group has ever asked), 'full'
   * One step, so that an id is remembered exactly if its message is stored.
   */
  publish: `${trimFunction}
if redis.call('EXISTS', KEYS[1]) == 0 then return 'unwanted' end
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then
  trim(KEYS[1])
  if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then return 'full' end
end
if tonumber(ARGV[2]) > 0 and not redis.call('SET', KEYS[2], '', 'NX', 'PX', ARGV[2]) then return 'known' end
redis.call('XADD', KEYS[1], '*', 'i', ARGV[3], 'h', ARGV[4], 'b', ARGV[5])
return 'stored'
`,
  /** KEYS 1 stream. Answers nothing. */
  trim: `${trimFunction}
if redis.call('EXISTS', KEYS[1]) == 1 then trim(KEYS[1]) end
`,
  /**
   * Takes over what is handed out and unsettled.
   * KEYS  1 stream
   * ARGV  1 group, 2 consumer, 3 idle for at least (ms), 4 from this id ('-', or '(' and an id), 5 at most, 6 '1': only what the consumer has
   * answers { last id looked at or '', { id, deliveries, fields }, … }
   */
  claim: `
local query = { 'XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], ARGV[4], '+', ARGV[5] }
if ARGV[6] == '1' then query[9] = ARGV[2] end
local answer = { '' }
for _, pending in ipairs(redis.call(unpack(query))) do
  local id = pending[1]
  answer[1] = id
  local claimed = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id)
  if #claimed == 1 then answer[#answer + 1] = { id, pending[4] + 1, claimed[1][2] } end
end
return answer
`,
  /**
   * KEYS  1 stream
   * ARGV  1 group, 2 consumer, 3… ids. What another consumer has taken over stays there.
   */
  extend: `
for index = 3, #ARGV do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[index], ARGV[index], 1, ARGV[2])
  if #pending == 1 then redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[index], 'JUSTID') end
end
`,
  /**
   * Gives entries back: nobody's, idle for as long as anybody waits for, and one delivery less.
   * KEYS  1 stream
   * ARGV  1 group, 2 consumer, 3 idle time (ms), 4… ids
   */
  release: `
for index = 4, #ARGV do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[index], ARGV[index], 1, ARGV[2])
  if #pending == 1 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], 'released', 0, ARGV[index], 'IDLE', ARGV[3], 'RETRYCOUNT', math.max(0, pending[1][4] - 1), 'JUSTID')
  end
end
`,
  /**
   * KEYS  1 stream, 2 dead letters
   * ARGV  1 group, 2 id, 3 dead letters at most, 4 subject, 5 message id, 6 headers, 7 body, 8 reason, 9 attempts, 10 failed at
   * One step, so that a message is either with its group or dead.
   */
  bury: `
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'g', ARGV[1], 's', ARGV[4], 'i', ARGV[5], 'h', ARGV[6], 'b', ARGV[7],
  'r', ARGV[8], 'a', ARGV[9], 't', ARGV[10])
`,
  /**
   * KEYS  1 dead letters, 2 the group's stream of replayed messages
   * ARGV  1 id of the dead letter, 2 group
   * answers 1, or 0 when it is not there any more
   */
  replay: `
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #found == 0 then return 0 end
local facts = {}
for index = 1, #found[1][2], 2 do facts[found[1][2][index]] = found[1][2][index + 1] end
redis.call('XADD', KEYS[2], '*', 'i', facts['i'], 'h', facts['h'], 'b', facts['b'])
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
`,
};

export type ScriptName = keyof typeof scripts;
