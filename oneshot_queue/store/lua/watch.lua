-- Be the one sweeper of a queue, and see which leases there are.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers (sorted set: lease -> end of lease in ms)
-- ARGV[1]  lease of who asks
-- ARGV[2]  ms until another may take over, unless this one asks again
--
-- Builds  sweeper, terms
-- Returns {"watching", lease, end, length in ms or '0', ...}, at most 1,000, those that end first; {"other"} if another
-- worker sweeps

local sweeper = redis.call('GET', T .. ':sweeper')
if sweeper and sweeper ~= ARGV[1] then
  return { 'other' }
end
redis.call('ZREM', KEYS[2], '') -- a write that passes when memory is full, so that the next one does
redis.call('SET', T .. ':sweeper', ARGV[1], 'PX', ARGV[2])
local reply = { 'watching' }
local leases = redis.call('ZRANGE', KEYS[2], 0, 999, 'WITHSCORES')
for index = 1, #leases, 2 do
  reply[#reply + 1] = leases[index]
  reply[#reply + 1] = leases[index + 1]
  reply[#reply + 1] = redis.call('HGET', T .. ':terms', leases[index]) or '0'
end
return reply
