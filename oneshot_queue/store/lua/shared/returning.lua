-- Functions that return a job to CREATED: requeue an attempt that never began, or start the next attempt.
--
-- Both start a new state machine. The caller has called begin_writing, and has seen that no interrupt is recorded.
--
-- Uses  queueing ending

-- Fields of one attempt, which the next attempt must not find in the job's hash.
local FIELDS_OF_ATTEMPT = { 'entry', 'lease', 'worker', 'host', 'pid', 'started', 'seq', 'ordinal', 'output', 'bytes',
  'dropped', 'last_output', 'expiry' }

-- Limit for the output kept of an unfinished job's earlier attempts.
local MAX_EARLIER_OUTPUT_BYTES = 33554432

-- Add an attempt's output to the total of the earlier attempts. Beyond the limit, keep only this attempt's output.
local function keep_output(id, attempt, kept)
  local job_key = T .. ':job:' .. id
  local kept_before, forgot = unpack(redis.call('HMGET', job_key, 'kept_before', 'forgot'))
  local together = (tonumber(kept_before) or 0) + kept
  if together <= MAX_EARLIER_OUTPUT_BYTES then
    redis.call('HSET', job_key, 'kept_before', format_int(together))
    return
  end
  for each = math.max(1, (tonumber(forgot) or 0) + 1), math.min(tonumber(attempt) - 1, MAX_ATTEMPTS) do
    redis.call('UNLINK', output_keys(id, each))
    visited_outputs = visited_outputs + 1
  end
  redis.call('HSET', job_key, 'kept_before', format_int(kept), 'forgot', format_int(tonumber(attempt) - 1))
end

local function reset_job(id, job, at_ms, attempt)
  leave_queue(id, job)
  local job_key = T .. ':job:' .. id
  -- Before the hash loses the worker's name, which the history refers to.
  unfold_history(id)
  redis.call('HDEL', job_key, unpack(FIELDS_OF_ATTEMPT))
  redis.call('HSET', job_key, 'state', 'CREATED', 'attempt', attempt, 'changed', format_int(at_ms))
  move_state(id, job.state, 'CREATED', at_ms)
  announce(id, 'CREATED')
end

-- Let the same attempt wait again, at the end of its stream.
--
-- job: {state, attempt, entry, priority, lease}; cause: why the attempt did not begin
local function requeue_job(id, job, at_ms, cause, by)
  local job_key = T .. ':job:' .. id
  local expiry = string.match(redis.call('HGET', job_key, 'expiry') or '', '^%d+$')
  reset_job(id, job, at_ms, job.attempt)
  if expiry and #expiry <= 15 then
    redis.call('ZADD', T .. ':expiring', expiry, id)
    redis.call('HSET', job_key, 'expires', expiry)
  end
  add_row(id, { state = 'CREATED', at_ms = at_ms, attempt = job.attempt, cause = cause, by = by })
  join_queue(id, job.priority)
end

-- Let the next attempt wait, after a delay if there is one.
--
-- result: {cause, by, detail, kept}: how the attempt ended, and how many bytes of its output are kept
local function retry_job(id, job, at_ms, delay_ms, result)
  local attempt = format_int(tonumber(job.attempt) + 1)
  reset_job(id, job, at_ms, attempt)
  add_row(id, { state = 'FAILED', at_ms = at_ms, attempt = job.attempt, cause = result.cause, by = result.by,
    detail = result.detail })
  add_row(id, { state = 'CREATED', at_ms = at_ms, attempt = attempt, cause = 'retry', by = result.by })
  if result.kept > 0 then
    keep_output(id, job.attempt, result.kept)
  end
  if delay_ms > 0 then
    wait_until_due(id, at_ms + delay_ms)
  else
    join_queue(id, job.priority)
  end
end
