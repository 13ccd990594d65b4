-- Remove some of all keys that begin with a prefix; called again with the cursor it returned, until that is 0.
--
-- KEYS[1]  the prefix
-- KEYS[2]  workers, only named: see base.lua; of the keys of no queue, the set of queues
-- ARGV[1]  cursor, 0 at first
--
-- Returns {"erased", cursor}

local page = redis.call('SCAN', ARGV[1], 'MATCH', T .. ':*', 'COUNT', 500)
if #page[2] > 0 then
  redis.call('UNLINK', unpack(page[2]))
end
return { 'erased', page[1] }
