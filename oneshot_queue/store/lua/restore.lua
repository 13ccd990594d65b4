-- Register a lease again after the server lost its last writes. A lease that is still registered, or condemned, keeps
-- its end.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers (sorted set: lease -> end of lease in ms)
-- ARGV[1]  lease
-- ARGV[2]  length of the lease in ms
--
-- Builds  terms
-- Returns {"restored", now_ms}

-- Redis never denies this write, so the next ones succeed even when memory is full.
redis.call('ZREM', KEYS[2], '')
local at_ms = now_ms()
redis.call('ZADD', KEYS[2], 'NX', format_int(at_ms + tonumber(ARGV[2])), ARGV[1])
redis.call('HSET', T .. ':terms', ARGV[1], ARGV[2])
return { 'restored', format_int(at_ms) }
