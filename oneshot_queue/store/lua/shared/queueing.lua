-- Functions that put a job into a ready stream or the delayed set, and remove it from there.

-- Append a waiting job to its ready stream, and wake a worker.
local function join_queue(id, priority)
  local entry = redis.call('XADD', T .. ':ready:' .. priority, '*', 'id', id)
  redis.call('HSET', T .. ':job:' .. id, 'entry', entry)
  redis.call('HDEL', T .. ':job:' .. id, 'due')
  ring_bell()
end

local function wait_until_due(id, due_ms)
  redis.call('ZADD', T .. ':delayed', format_int(due_ms), id)
  redis.call('HSET', T .. ':job:' .. id, 'due', format_int(due_ms))
end

-- Remove a job from its ready stream, its lease's intents, the delayed set and the expiring set.
--
-- job: {entry, priority, lease, due, expires}, each false or nil if the job has none; and interrupt_by: false if it is
-- known that nobody has interrupted the job, so that it has no intent
local function leave_queue(id, job)
  if job.entry then
    redis.call('XACK', T .. ':ready:' .. job.priority, GROUP, job.entry)
    redis.call('XDEL', T .. ':ready:' .. job.priority, job.entry)
  end
  if job.lease and job.interrupt_by ~= false then
    redis.call('HDEL', T .. ':intents:' .. job.lease, id)
  end
  if job.due then
    redis.call('ZREM', T .. ':delayed', id)
  end
  if job.expires then
    redis.call('ZREM', T .. ':expiring', id)
  end
end
