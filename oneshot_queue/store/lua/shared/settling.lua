-- After a crash or a failover the server may have forgotten its last writes. Before anybody claims from such a queue, its
-- workers get some seconds to say what they run and what has ended.

local SETTLING_MS = 5000

-- How many ms claims have to wait; a server whose run id is new to the queue begins it. The first one ever does not: there
-- was nothing it could forget.
local function settles(run_id)
  local epoch = redis.call('GET', T .. ':epoch')
  if run_id ~= '' and epoch ~= run_id then
    redis.call('ZREM', T .. ':workers', '') -- a write that passes when memory is full, so that the next ones do
    redis.call('SET', T .. ':epoch', run_id)
    if epoch then
      redis.call('SET', T .. ':settling', '1', 'PX', SETTLING_MS)
    end
  end
  return math.max(0, redis.call('PTTL', T .. ':settling'))
end
