-- Correct the total of kept output, unless it has changed since its rows were added up.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, passed for routing only: see base.lua
-- ARGV[1]  the total as it was read, or '' if it was missing
-- ARGV[2]  number of rows
-- ARGV[3]  the correct total
--
-- Builds  kept, counters
-- Returns {"corrected"}, or {"changed"} if nothing was written

local is_same = (redis.call('HGET', T .. ':counters', 'kept') or '') == ARGV[1]
if not is_same or redis.call('HLEN', T .. ':kept') ~= tonumber(ARGV[2]) then
  return { 'changed' }
end
-- Redis never denies this write, so the next one succeeds even when memory is full.
redis.call('HDEL', T .. ':counters', '')
redis.call('HSET', T .. ':counters', 'kept', ARGV[3])
return { 'corrected' }
