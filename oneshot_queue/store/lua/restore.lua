-- Register a lease again that a server forgot when it lost its last writes; one that was condemned stays so.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers (sorted set: lease -> end of lease in ms)
-- ARGV[1]  lease
-- ARGV[2]  length of the lease in ms
--
-- Builds  terms
-- Returns {"restored", now_ms}

redis.call('ZREM', KEYS[2], '') -- a write that passes when memory is full, so that the next ones do
local at_ms = now_ms()
redis.call('ZADD', KEYS[2], 'NX', digits(at_ms + tonumber(ARGV[2])), ARGV[1])
redis.call('HSET', T .. ':terms', ARGV[1], ARGV[2])
return { 'restored', digits(at_ms) }
