-- Remove some of the keys that begin with a prefix. Call it again with the returned cursor until that is 0.
--
-- KEYS[1]  the prefix
-- KEYS[2]  workers, passed for routing only: see base.lua; for the namespace's own keys, the set of queues
-- ARGV[1]  cursor, 0 at first
--
-- Returns {"erased", cursor}

local page = redis.call('SCAN', ARGV[1], 'MATCH', T .. ':*', 'COUNT', 500)
if #page[2] > 0 then
  redis.call('UNLINK', unpack(page[2]))
end
return { 'erased', page[1] }
