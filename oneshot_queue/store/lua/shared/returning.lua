-- Back to CREATED, the two ways there are: the same attempt once more, because it never began, or the next one. Each is
-- the start of a new state machine. The caller has begun writing, and has seen that no interrupt is on record.
--
-- Uses  placing ending

-- What an attempt leaves in the job's hash, and the next one must not find there.
local OF_AN_ATTEMPT = { 'entry', 'lease', 'worker', 'host', 'pid', 'started', 'seq', 'ordinal', 'output', 'bytes', 'dropped',
  'last_output', 'expiry' }

-- Bytes of output of a job's earlier attempts that are kept while it goes on.
local MOST_BEFORE = 33554432

-- Add up what the attempts have left that are over; beyond the limit, only the output of the last of them stays.
local function keep_output(id, attempt, kept)
  local job_key = T .. ':job:' .. id
  local before = redis.call('HMGET', job_key, 'kept_before', 'forgot')
  local together = (tonumber(before[1]) or 0) + kept
  if together <= MOST_BEFORE then
    redis.call('HSET', job_key, 'kept_before', digits(together))
    return
  end
  for each = math.max(1, (tonumber(before[2]) or 0) + 1), math.min(tonumber(attempt) - 1, MAX_ATTEMPTS) do
    redis.call('UNLINK', output_keys(id, each))
    outputs = outputs + 1
  end
  redis.call('HSET', job_key, 'kept_before', digits(kept), 'forgot', digits(tonumber(attempt) - 1))
end

local function return_job(id, job, at_ms, attempt)
  step_out(id, job)
  local job_key = T .. ':job:' .. id
  unfold_history(id) -- while the hash says which worker it was
  redis.call('HDEL', job_key, unpack(OF_AN_ATTEMPT))
  redis.call('HSET', job_key, 'state', 'CREATED', 'attempt', attempt, 'changed', digits(at_ms))
  move_state(id, job.state, 'CREATED', at_ms)
  announce(id, 'CREATED')
end

-- job: {state, attempt, entry, priority, lease}; cause: why it did not begin
local function give_job_back(id, job, at_ms, cause, by)
  local job_key = T .. ':job:' .. id
  local expiry = string.match(redis.call('HGET', job_key, 'expiry') or '', '^%d+$')
  return_job(id, job, at_ms, job.attempt)
  if expiry and #expiry <= 15 then
    redis.call('ZADD', T .. ':expiring', expiry, id)
    redis.call('HSET', job_key, 'expires', expiry)
  end
  add_row(id, { state = 'CREATED', at_ms = at_ms, attempt = job.attempt, cause = cause, by = by })
  line_up(id, job.priority)
end

-- ending: {cause, by, detail, kept}: how the attempt ended that is over, and how many bytes of output it left
local function retry_job(id, job, at_ms, delay_ms, ending)
  local attempt = digits(tonumber(job.attempt) + 1)
  return_job(id, job, at_ms, attempt)
  add_row(id, { state = 'FAILED', at_ms = at_ms, attempt = job.attempt, cause = ending.cause, by = ending.by,
    detail = ending.detail })
  add_row(id, { state = 'CREATED', at_ms = at_ms, attempt = attempt, cause = 'retry', by = ending.by })
  if ending.kept > 0 then
    keep_output(id, job.attempt, ending.kept)
  end
  if delay_ms > 0 then
    wait_until_due(id, at_ms + delay_ms)
  else
    line_up(id, job.priority)
  end
end
