/**
 * What runs inside Redis. A script is one atomic step. Fences are decimal text without leading zeros and never become Lua numbers,
 * which are doubles: the longer one is higher, and of two equally long ones the one that is later in the alphabet.
 */

/**
 * Installs a fence.
 *
 * KEYS  1 the fence: a hash of `fence` and `owner`
 * ARGV  1 fence · 2 owner, or nothing
 * out   '' installed · else the fence that is there, which refuses it
 */
export const installScript = String.raw`
local held = redis.call('HGET', KEYS[1], 'fence')
if held then
  local below
  if #held == #ARGV[1] then below = held < ARGV[1] else below = #held < #ARGV[1] end
  local again = held == ARGV[1] and ARGV[2] ~= '' and redis.call('HGET', KEYS[1], 'owner') == ARGV[2]
  if not below and not again then return held end
end
redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'owner', ARGV[2])
return ''
`;

/**
 * Runs commands if the fence is there.
 *
 * KEYS  1 the fence · 2… what the commands touch
 * ARGV  1 fence · then for each command: how many words, and the words
 * out   {0, fence that is there, or '0'}   nothing was run
 *       {1, answer, answer, …}             all were run
 *       {2, number, error}                 the command of this number (from 1) failed; those before it were run, none after
 */
export const writeScript = String.raw`
local held = redis.call('HGET', KEYS[1], 'fence')
if held ~= ARGV[1] then return {0, held or '0'} end
local answers = {1}
local at = 2
while at <= #ARGV do
  local count = tonumber(ARGV[at])
  local answer = redis.pcall(unpack(ARGV, at + 1, at + count))
  if type(answer) == 'table' and answer.err then return {2, #answers, answer.err} end
  answers[#answers + 1] = answer
  at = at + count + 1
end
return answers
`;
