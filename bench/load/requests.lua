-- What wrk sends: GET on one key after the other, or POST with a body. Settings come by the environment:
--   BENCH_PREFIX   path before the key            BENCH_KEYS   number of keys, 0: the prefix is the path
--   BENCH_HEADERS  1: with the headers of a browser   BENCH_BODY   bytes of the body; then POST
--   BENCH_VALUE    what "value" must be; set: status and body of every response are compared with what its key must give.
-- The comparison needs one connection for each thread: then the response is that of the thread's last request.
local prefix = os.getenv('BENCH_PREFIX')
local keys = tonumber(os.getenv('BENCH_KEYS'))
local value = os.getenv('BENCH_VALUE')
local bodyBytes = tonumber(os.getenv('BENCH_BODY') or '0')
local threads = {}

if os.getenv('BENCH_HEADERS') == '1' then
  wrk.headers['User-Agent'] = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36'
  wrk.headers['Accept'] = 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8'
  wrk.headers['Accept-Language'] = 'en-GB,en;q=0.9,de;q=0.8'
  wrk.headers['Accept-Encoding'] = 'gzip, deflate, br, zstd'
  wrk.headers['Cookie'] = 'session=4f1a9c2e7b6d4a0f9e8c7b6a5d4e3f2a; theme=dark; consent=yes'
  wrk.headers['Referer'] = 'https://shop.example.org/catalogue/garden?page=3'
  wrk.headers['Cache-Control'] = 'no-cache'
  wrk.headers['Sec-Fetch-Dest'] = 'empty'
  wrk.headers['Sec-Fetch-Mode'] = 'cors'
  wrk.headers['Sec-Fetch-Site'] = 'same-origin'
end

function setup(thread)
  thread:set('number', #threads)
  table.insert(threads, thread)
end

function init(args)
  local method, body = 'GET', nil
  if bodyBytes > 0 then
    method, body = 'POST', string.rep('u', bodyBytes)
  end
  paths, requests, wrong, firstWrong = {}, {}, 0, ''
  for index = 0, math.max(keys, 1) - 1 do
    paths[index] = keys > 0 and string.format('%sk%04d', prefix, index) or prefix
    requests[index] = wrk.format(method, paths[index], nil, body)
  end
  at = (number * 137) % math.max(keys, 1)
end

function request()
  at = (at + 1) % math.max(keys, 1)
  return requests[at]
end

if value then
  function response(status, headers, body)
    if status ~= 200 or body ~= '{"key":"' .. paths[at] .. '","value":"' .. value .. '"}' then
      wrong = wrong + 1
      if firstWrong == '' then firstWrong = paths[at] .. ': ' .. status .. ' ' .. body:sub(1, 200) end
    end
  end
end

function done(summary, latency, requests)
  local wrongs, first = 0, ''
  for _, thread in ipairs(threads) do
    wrongs = wrongs + thread:get('wrong')
    if first == '' then first = thread:get('firstWrong') end
  end
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"durationUs":%d,"bytes":%d,"notOk":%d,"broken":%d,"wrong":%d,"p50Us":%d,"p99Us":%d}\n',
    summary.requests, summary.duration, summary.bytes, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, wrongs,
    latency:percentile(50), latency:percentile(99)))
  if wrongs > 0 then io.write('WRONG ' .. first .. '\n') end
end
