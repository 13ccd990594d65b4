-- Store what a running attempt wrote: the beginning in one stream that is closed at its limit, the end of each of the
-- command's two outputs in a stream that is trimmed from the front.
--
-- A chunk's entry id is `<ordinal>-0`; ordinals count all chunks of an attempt, so they order the three streams among
-- each other, and a chunk sent twice is stored once.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  job (hash)
-- KEYS[3]  head of the output (stream)
-- KEYS[4]  tail of stdout (stream)
-- KEYS[5]  tail of stderr (stream)
-- ARGV[1]  job id
-- ARGV[2]  token
-- ARGV[3]  lease
-- ARGV[4]  bytes written so far, both outputs
-- ARGV[5]  bytes of these that are not kept
-- ARGV[6]  how long ago the last of them came, in ms
-- ARGV[7]  first ordinal to keep in the tail of stdout
-- ARGV[8]  first ordinal to keep in the tail of stderr
-- ARGV[9...]  ordinal, key (3, 4 or 5), stream (1 or 2), offset, ms ago, data, ... for each chunk
--
-- Builds  events:
-- Returns {"appended"} or {"fenced"}

local job = redis.call('HMGET', KEYS[2], 'token', 'lease', 'ordinal', 'ended')
if job[1] ~= ARGV[2] or job[2] ~= ARGV[3] or job[4] then
  return { 'fenced' }
end
local last, at_ms = tonumber(job[3]) or 0, now_ms()
-- The newest chunk comes last. What is known already came late, and its totals are out of date.
if tonumber(ARGV[#ARGV - 5]) <= last then
  return { 'appended' }
end
for i = 9, #ARGV, 6 do
  local ordinal = tonumber(ARGV[i])
  if ordinal > last then
    redis.call('XADD', KEYS[tonumber(ARGV[i + 1])], digits(ordinal) .. '-0', 's', ARGV[i + 2], 'o', ARGV[i + 3], 't',
      digits(at_ms - tonumber(ARGV[i + 4])), 'd', ARGV[i + 5])
    last = ordinal
  end
end
redis.call('XTRIM', KEYS[4], 'MINID', '=', ARGV[7] .. '-0')
redis.call('XTRIM', KEYS[5], 'MINID', '=', ARGV[8] .. '-0')
redis.call('HSET', KEYS[2], 'ordinal', digits(last), 'output', 'stream', 'bytes', ARGV[4], 'dropped', ARGV[5],
  'last_output', digits(at_ms - tonumber(ARGV[6])))
announce(ARGV[1], 'output')
return { 'appended' }
