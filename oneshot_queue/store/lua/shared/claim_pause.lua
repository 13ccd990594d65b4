-- The pause in claiming after a server crash or failover.
--
-- The server may have lost its last writes. Before anyone claims from its queues, the workers get a few seconds to
-- report what they run and what has ended.

local CLAIM_PAUSE_MS = 5000

-- Returns for how many ms claiming is still paused. A run id that is new to the queue starts the pause; the queue's
-- first run id does not, because nothing can have been lost.
local function claim_pause_ms(run_id)
  local epoch = redis.call('GET', T .. ':epoch')
  if run_id ~= '' and epoch ~= run_id then
    -- Redis never denies this write, so the next ones succeed even when memory is full.
    redis.call('ZREM', T .. ':workers', '')
    redis.call('SET', T .. ':epoch', run_id)
    if epoch then
      redis.call('SET', T .. ':settling', '1', 'PX', CLAIM_PAUSE_MS)
    end
  end
  return math.max(0, redis.call('PTTL', T .. ':settling'))
end
