-- Put the sum of `kept` right, if it is still as it was when the rows were added up.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, only named: see base.lua
-- ARGV[1]  the sum as it was read, '' if there was none
-- ARGV[2]  how many rows there were
-- ARGV[3]  the right sum
--
-- Builds  kept, counters
-- Returns {"corrected"} or {"spared"}

local is_same = (redis.call('HGET', T .. ':counters', 'kept') or '') == ARGV[1]
if not is_same or redis.call('HLEN', T .. ':kept') ~= tonumber(ARGV[2]) then
  return { 'spared' }
end
redis.call('HDEL', T .. ':counters', '') -- a write that passes when memory is full, so that the next one does
redis.call('HSET', T .. ':counters', 'kept', ARGV[3])
return { 'corrected' }
