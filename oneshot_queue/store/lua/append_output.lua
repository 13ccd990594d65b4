-- Store output of a running attempt: a head stream up to a limit, then one tail stream each for stdout and stderr.
--
-- The worker decides which stream a chunk belongs to, and from which ordinal on each tail is kept; older chunks are
-- trimmed. A chunk's entry id is `<ordinal>-0`. Ordinals count all chunks of an attempt, so they define one
-- order across the three streams, and a chunk that is sent twice is stored once.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  job (hash)
-- KEYS[3]  head of the output (stream)
-- KEYS[4]  tail of stdout (stream)
-- KEYS[5]  tail of stderr (stream)
-- ARGV[1]  job id
-- ARGV[2]  token
-- ARGV[3]  lease
-- ARGV[4]  bytes written so far, stdout and stderr together
-- ARGV[5]  bytes of these that are not kept
-- ARGV[6]  ms since the last chunk was read
-- ARGV[7]  first ordinal to keep in the tail of stdout
-- ARGV[8]  first ordinal to keep in the tail of stderr
-- ARGV[9...]  ordinal, key (3, 4 or 5), stream (1 or 2), offset, ms ago, data, ... for each chunk
--
-- Builds  events:
-- Returns {"appended"} or {"fenced"}

local token, lease, ordinal, ended = unpack(redis.call('HMGET', KEYS[2], 'token', 'lease', 'ordinal', 'ended'))
if token ~= ARGV[2] or lease ~= ARGV[3] or ended then
  return { 'fenced' }
end
local last, at_ms = tonumber(ordinal) or 0, now_ms()
-- The newest chunk is last. If it is stored already, this call is a late repetition with outdated totals.
if tonumber(ARGV[#ARGV - 5]) <= last then
  return { 'appended' }
end
for i = 9, #ARGV, 6 do
  local number = tonumber(ARGV[i])
  if number > last then
    redis.call('XADD', KEYS[tonumber(ARGV[i + 1])], format_int(number) .. '-0', 's', ARGV[i + 2], 'o', ARGV[i + 3], 't',
      format_int(at_ms - tonumber(ARGV[i + 4])), 'd', ARGV[i + 5])
    last = number
  end
end
redis.call('XTRIM', KEYS[4], 'MINID', '=', ARGV[7] .. '-0')
redis.call('XTRIM', KEYS[5], 'MINID', '=', ARGV[8] .. '-0')
redis.call('HSET', KEYS[2], 'ordinal', format_int(last), 'output', 'stream', 'bytes', ARGV[4], 'dropped', ARGV[5],
  'last_output', format_int(at_ms - tonumber(ARGV[6])))
announce(ARGV[1], 'output')
return { 'appended' }
