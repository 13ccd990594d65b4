-- From CREATED to RUNNING, for both ways of claiming.

local given = 0

-- A token no earlier attempt can have had: later than the job's last one, and, should a crash have lost that, later in
-- time. Within one script time may stand still, so each token also follows the one given before.
local function next_token(previous)
  given = math.max(time_us(), (tonumber(previous) or 0) + 1, given + 1)
  return digits(given)
end

-- What a claim needs to know of a job, or nil if there is none that can be read.
local function read_job(job_key)
  local job = redis.pcall('HMGET', job_key, 'state', 'entry', 'lease', 'priority', 'attempt', 'token', 'changed')
  if job.err or not job[1] or not (IS_FINAL[job[1]] or next_state(job[1], 'interrupt')) then
    return nil
  end
  return { state = job[1], entry = job[2], lease = job[3], priority = job[4], attempt = job[5], token = job[6],
    changed = job[7] }
end

-- The spec and the stdin of a waiting job, or nil if it is none or a part of it is damaged: then it must not be started.
local function read_spec(id, job)
  if not job or job.state ~= 'CREATED' then
    return nil
  end
  local spec = redis.pcall('GET', T .. ':spec:' .. id) or ''
  local stdin = redis.pcall('GET', T .. ':stdin:' .. id) or ''
  local history = redis.pcall('STRLEN', T .. ':text:' .. id)
  local attempt = job.attempt or ''
  if type(spec) == 'table' or type(stdin) == 'table' or type(history) == 'table'
      or #attempt > 9 or not string.find(attempt, '^%d+$') then
    return nil
  end
  return spec, stdin
end

-- Give a CREATED job to a lease. Returns what the worker needs: id, attempt, token, spec, stdin.
local function start_job(id, job, spec, stdin, lease, worker, host)
  local token, at_ms = next_token(job.token), happened_ms(0, job.changed)
  local state = next_state('CREATED', 'start')
  redis.call('HSET', T .. ':job:' .. id, 'state', state, 'token', token, 'lease', lease, 'worker', worker, 'host', host,
    'started', digits(at_ms), 'changed', digits(at_ms))
  move_state(id, 'CREATED', state, at_ms)
  add_history(id, state, at_ms, job.attempt, '', worker)
  announce(id, state)
  return { id, job.attempt, token, spec, stdin }
end
