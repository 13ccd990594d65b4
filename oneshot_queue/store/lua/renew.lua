-- Prolong a worker's lease on one queue, and hand over what was asked of its jobs meanwhile.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers (sorted set: lease -> end of lease in ms)
-- KEYS[3]  intents of this lease (hash: job id -> intent)
-- ARGV[1]  lease
-- ARGV[2]  length of the lease in ms
-- ARGV[3...]  job id, intent, ... that are of no use: forgotten unless they were replaced meanwhile
--
-- Builds  workers
-- Returns {"renewed", now_ms, job id, intent, ...} or {"lost"}

if not is_live(ARGV[1]) then
  return { 'lost' }
end
-- Removing an absent member is a write that passes when memory is full, and lets the next one pass.
redis.call('ZREM', KEYS[2], '')
local at_ms = now_ms()
redis.call('ZADD', KEYS[2], 'XX', digits(at_ms + tonumber(ARGV[2])), ARGV[1])
for i = 3, #ARGV, 2 do
  if redis.call('HGET', KEYS[3], ARGV[i]) == ARGV[i + 1] then
    redis.call('HDEL', KEYS[3], ARGV[i])
  end
end
local reply = { 'renewed', digits(at_ms) }
-- Not unpack: it fails at 8,000 values, and a lease must not be lost to whoever wrote that many.
for _, word in ipairs(redis.call('HGETALL', KEYS[3])) do
  reply[#reply + 1] = word
end
return reply
