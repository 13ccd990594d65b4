-- Renew a worker's lease on one queue, and return the intents recorded for its jobs.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers (sorted set: lease -> end of lease in ms)
-- KEYS[3]  intents of this lease (hash: job id -> intent)
-- ARGV[1]  lease
-- ARGV[2]  length of the lease in ms
-- ARGV[3...]  job id, intent, ... to delete as obsolete, unless they were replaced meanwhile
--
-- Builds  workers
-- Returns {"renewed", now_ms, job id, intent, ...} or {"lost"}

if not is_live(ARGV[1]) then
  return { 'lost' }
end
-- Redis never denies this write, so the next ones succeed even when memory is full.
redis.call('ZREM', KEYS[2], '')
local at_ms = now_ms()
redis.call('ZADD', KEYS[2], 'XX', format_int(at_ms + tonumber(ARGV[2])), ARGV[1])
for i = 3, #ARGV, 2 do
  if redis.call('HGET', KEYS[3], ARGV[i]) == ARGV[i + 1] then
    redis.call('HDEL', KEYS[3], ARGV[i])
  end
end
local reply = { 'renewed', format_int(at_ms) }
-- Not unpack, which fails at 8,000 values: a lease must not be lost because some client wrote that many.
for _, word in ipairs(redis.call('HGETALL', KEYS[3])) do
  reply[#reply + 1] = word
end
return reply
