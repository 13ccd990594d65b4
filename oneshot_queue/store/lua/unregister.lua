-- Remove a worker's lease on one queue, unless it still holds a job there.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers (sorted set: lease -> end of lease in ms)
-- KEYS[3]  intents of this lease
-- ARGV[1]  lease
--
-- Uses  sweeping
-- Builds  ready:, terms, sweeper, bell
-- Returns {"unregistered"} or {"busy"}

local streams = {}
for _, priority in ipairs(PRIORITIES) do
  local stream = T .. ':ready:' .. priority
  local pending = redis.pcall('XPENDING', stream, GROUP, '-', '+', 1, ARGV[1])
  if not pending.err then
    -- DELCONSUMER would drop pending entries, and no worker would ever receive them again.
    if #pending > 0 then
      return { 'busy' }
    end
    streams[#streams + 1] = stream
  end
end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[3])
redis.call('HDEL', T .. ':terms', ARGV[1])
release_sweeper(ARGV[1])
for _, stream in ipairs(streams) do
  redis.call('XGROUP', 'DELCONSUMER', stream, GROUP, ARGV[1])
end
-- This worker may have consumed a ring as it left: pass it on.
ring_bell()
return { 'unregistered' }
