-- Store a worker's presence, even when memory is full: the worker still works then, and must not look dead.
--
-- KEYS[1]  the namespace's prefix
-- KEYS[2]  presence of the worker (string)
-- ARGV[1]  the packed presence
-- ARGV[2]  seconds to keep it
--
-- Returns {"shown"}

-- Redis never denies this write, so the next one succeeds even when memory is full.
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
return { 'shown' }
