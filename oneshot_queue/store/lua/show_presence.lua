-- Give a worker's sign of life, also when memory is full: it works on then, and must not look dead.
--
-- KEYS[1]  the namespace's prefix
-- KEYS[2]  presence of the worker (string)
-- ARGV[1]  the packed presence
-- ARGV[2]  seconds to keep it
--
-- Returns {"shown"}

redis.call('DEL', KEYS[2]) -- a write that passes when memory is full, so that the next one does
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
return { 'shown' }
