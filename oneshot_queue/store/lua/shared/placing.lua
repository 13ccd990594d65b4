-- Where a job stands: in a ready stream, among those that are not due yet, or under the lease that holds it.

-- Let a waiting job stand at the end of its stream.
local function line_up(id, priority)
  local entry = redis.call('XADD', T .. ':ready:' .. priority, '*', 'id', id)
  redis.call('HSET', T .. ':job:' .. id, 'entry', entry)
  redis.call('HDEL', T .. ':job:' .. id, 'due')
  ring_bell()
end

local function wait_until_due(id, due_ms)
  redis.call('ZADD', T .. ':delayed', digits(due_ms), id)
  redis.call('HSET', T .. ':job:' .. id, 'due', digits(due_ms))
end

-- Take a job out of wherever it stands. job: {entry, priority, lease, due, expires}, each false or nil if there is none, and
-- interrupt_by: false if it is known that nobody ever asked for its end
local function step_out(id, job)
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
