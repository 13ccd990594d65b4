-- What the clock brings about: a delayed job gets its place in a stream, one that nobody started in time ends.
--
-- Uses  placing ending

local MAX_PROMOTIONS = 100

local function due_members(key)
  return redis.call('ZRANGEBYSCORE', key, '-inf', digits(now_ms()), 'LIMIT', 0, MAX_PROMOTIONS)
end

-- Let at most 100 jobs that are due stand in their streams; returns how many.
local function promote_due()
  local due = due_members(T .. ':delayed')
  for _, id in ipairs(due) do
    local job = redis.pcall('HMGET', T .. ':job:' .. id, 'state', 'priority', 'entry')
    redis.call('ZREM', T .. ':delayed', id)
    if job[1] == 'CREATED' and not job[3] and (job[2] == 'high' or job[2] == 'normal' or job[2] == 'low') then
      line_up(id, job[2])
    end
  end
  return #due
end

local function end_expired(id, job, keep_ms)
  redis.call('ZREM', T .. ':expiring', id) -- also a write that passes when memory is full, so that the next ones do
  add_text(id, 'error', 'it was not started in time')
  end_job(id, job, { to = 'FAILED', at_ms = happened_ms(0, job.changed), cause = 'expired', by = '',
    keep_ms = keep_ms, kept = 0 })
end

-- Whether a waiting job need not be started any more, although no clock has come to it yet.
local function is_late(job)
  return (tonumber(job.expires or '') or math.huge) <= now_ms()
end

-- End at most 100 jobs that waited too long; returns how many.
local function end_what_expired(keep_ms)
  local late = due_members(T .. ':expiring')
  for _, id in ipairs(late) do
    local job = redis.pcall('HMGET', T .. ':job:' .. id, 'state', 'attempt', 'entry', 'priority', 'created', 'due',
      'changed', 'token')
    redis.call('ZREM', T .. ':expiring', id)
    if job[1] == 'CREATED' then
      end_expired(id, { state = job[1], attempt = job[2], entry = job[3], priority = job[4], changed = job[7] or job[5],
        due = job[6], token = job[8] }, keep_ms)
    end
  end
  return #late
end
