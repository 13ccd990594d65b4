-- Register a worker's lease on one queue.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers (sorted set: lease -> end of lease in ms)
-- ARGV[1]  lease
-- ARGV[2]  length of the lease in ms
--
-- Builds  terms
-- Returns {"registered", now_ms}

local at_ms = now_ms()
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[2], format_int(at_ms + tonumber(ARGV[2])), ARGV[1])
redis.call('HSET', T .. ':terms', ARGV[1], ARGV[2])
return { 'registered', format_int(at_ms) }
