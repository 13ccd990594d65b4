-- Functions that act on the clock: delayed jobs join their ready streams, and jobs not started in time fail.
--
-- Uses  queueing ending

local MAX_PROMOTIONS = 100

local function due_members(key)
  return redis.call('ZRANGEBYSCORE', key, '-inf', format_int(now_ms()), 'LIMIT', 0, MAX_PROMOTIONS)
end

-- Move at most 100 due jobs to their ready streams. Returns how many were due.
local function promote_due_jobs()
  local due = due_members(T .. ':delayed')
  for _, id in ipairs(due) do
    local state, priority, entry = unpack(redis.pcall('HMGET', T .. ':job:' .. id, 'state', 'priority', 'entry'))
    redis.call('ZREM', T .. ':delayed', id)
    if state == 'CREATED' and not entry and (priority == 'high' or priority == 'normal' or priority == 'low') then
      join_queue(id, priority)
    end
  end
  return #due
end

local function expire_job(id, job, keep_ms)
  -- Redis never denies this write, so the next ones succeed even when memory is full.
  redis.call('ZREM', T .. ':expiring', id)
  add_text(id, 'error', 'not started in time')
  end_job(id, job, { to = 'FAILED', at_ms = happened_ms(0, job.changed), cause = 'expired', by = '',
    keep_ms = keep_ms, kept = 0 })
end

-- Whether a waiting job has passed its start deadline, although no call has expired it yet.
local function has_expired(job)
  return (tonumber(job.expires or '') or math.huge) <= now_ms()
end

-- Fail at most 100 waiting jobs that have passed their start deadline. Returns how many members were past it.
local function expire_due_jobs(keep_ms)
  local late = due_members(T .. ':expiring')
  for _, id in ipairs(late) do
    local state, attempt, entry, priority, created, due, changed, token =
      unpack(redis.pcall('HMGET', T .. ':job:' .. id,
        'state', 'attempt', 'entry', 'priority', 'created', 'due', 'changed', 'token'))
    redis.call('ZREM', T .. ':expiring', id)
    if state == 'CREATED' then
      expire_job(id, { state = state, attempt = attempt, entry = entry, priority = priority,
        changed = changed or created, due = due, token = token }, keep_ms)
    end
  end
  return #late
end
