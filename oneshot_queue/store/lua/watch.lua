-- Take or keep the sweeper role of a queue, and list its leases.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers (sorted set: lease -> end of lease in ms)
-- ARGV[1]  lease of the caller
-- ARGV[2]  ms until another worker may take over, unless the caller calls again
--
-- Builds  sweeper, terms
-- Returns {"watching", lease, end, length in ms or '0', ...}, at most 1,000 leases, those that end first; or {"other"}
-- if another worker is the sweeper

local sweeper = redis.call('GET', T .. ':sweeper')
if sweeper and sweeper ~= ARGV[1] then
  return { 'other' }
end
-- Redis never denies this write, so the next one succeeds even when memory is full.
redis.call('ZREM', KEYS[2], '')
redis.call('SET', T .. ':sweeper', ARGV[1], 'PX', ARGV[2])
local reply = { 'watching' }
local leases = redis.call('ZRANGE', KEYS[2], 0, 999, 'WITHSCORES')
for index = 1, #leases, 2 do
  reply[#reply + 1] = leases[index]
  reply[#reply + 1] = leases[index + 1]
  reply[#reply + 1] = redis.call('HGET', T .. ':terms', leases[index]) or '0'
end
return reply
