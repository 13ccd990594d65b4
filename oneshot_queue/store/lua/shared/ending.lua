-- Functions that finish a job and delete old finished jobs.
--
-- Uses  queueing

local FINAL = { 'INTERRUPTED', 'COMPLETED', 'FAILED' }
local MAX_REMOVALS = 100
local MAX_ATTEMPTS = 1001
-- A job may have had a thousand attempts. A call that has visited the output of this many leaves the other jobs to the
-- next call.
local MAX_OUTPUTS = 2000
local visited_outputs = 0
-- Keys outlive their index entry by an hour, so that pruning, which keeps the totals correct, comes first.
local EXPIRY_SLACK_MS = 3600000

local function output_keys(id, attempt)
  local key = T .. ':output:' .. id .. ':' .. attempt
  return key, key .. ':stdout', key .. ':stderr'
end

local function expire_output(id, attempt, ttl_ms)
  for _, key in ipairs({ output_keys(id, attempt) }) do
    redis.call('PEXPIRE', key, ttl_ms)
  end
end

-- Subtract a job's output from the total of kept output.
local function forget_kept_bytes(id)
  local kept = redis.call('HGET', T .. ':kept', id)
  if kept then
    redis.call('HDEL', T .. ':kept', id)
    redis.call('HINCRBY', T .. ':counters', 'kept', '-' .. kept)
  end
end

-- Remove a finished job with all its keys and index entries.
local function remove_job(id, state)
  local attempt, stored_state = unpack(redis.call('HMGET', T .. ':job:' .. id, 'attempt', 'state'))
  local attempts = math.max(1, math.min(tonumber(attempt or '1') or 1, MAX_ATTEMPTS))
  redis.call('ZREM', T .. ':state:' .. state, id)
  -- An old job's keys may expire before its index entry is pruned. A new job of the same id owns these keys then.
  local is_another = stored_state and stored_state ~= state
  if not (is_another and IS_FINAL[stored_state]) then
    forget_kept_bytes(id)
  end
  if is_another then
    return
  end
  redis.call('UNLINK', T .. ':job:' .. id, T .. ':spec:' .. id, T .. ':text:' .. id, T .. ':stdin:' .. id)
  for each = 1, attempts do
    redis.call('UNLINK', output_keys(id, each))
  end
  visited_outputs = visited_outputs + attempts
end

-- Find the job that finished first. Returns its id and state, or nil.
local function oldest_finished()
  local oldest, state, score
  for _, final in ipairs(FINAL) do
    local first = redis.call('ZRANGE', T .. ':state:' .. final, 0, 0, 'WITHSCORES')
    if first[1] and (not score or tonumber(first[2]) < score) then
      oldest, state, score = first[1], final, tonumber(first[2])
    end
  end
  return oldest, state
end

-- Remove the oldest finished jobs beyond the queue's limits, at most `max_removals`. Returns how many were removed.
-- Never removes `just_ended`: the clients that wait for this job must find it.
local function prune_over_limits(max_jobs, max_bytes, max_removals, just_ended)
  local count = 0
  for _, final in ipairs(FINAL) do
    count = count + redis.call('ZCARD', T .. ':state:' .. final)
  end
  local removed = 0
  while removed < max_removals and visited_outputs < MAX_OUTPUTS do
    local kept = tonumber(redis.call('HGET', T .. ':counters', 'kept') or '0')
    if count <= max_jobs and kept <= max_bytes then
      break
    end
    local id, state = oldest_finished()
    if not id or id == just_ended then
      break
    end
    remove_job(id, state)
    count, removed = count - 1, removed + 1
  end
  return removed
end

-- Fields that a finished job does not need. Its field `ended` replaces `changed`.
local FIELDS_OF_ACTIVE_JOB = { 'entry', 'lease', 'changed', 'ordinal', 'expiry' }

-- Move a job to its final state: delete its stream entry, index it, and set an expiry on all its keys.
--
-- The caller has called begin_writing or made an equivalent write.
--
-- The script stops at the first damaged key. All facts of the result are therefore written before the state or together
-- with it: a final record is never written again.
--
-- job: {state, attempt, entry, priority, lease, due, expires}, and these fields as stored in its hash (false if
-- absent), or nil if the caller has not read them: {spec, stdin, output, log, created, worker, token, interrupt_by}
-- result: {to, at_ms, cause, by, keep_ms, kept}, and optionally error (a text for users) and fields (field, value, ...
-- to set)
local function end_job(id, job, result)
  leave_queue(id, job)
  local job_key = T .. ':job:' .. id
  add_text(id, 'error', result.error or '')
  local row = { state = result.to, at_ms = result.at_ms, attempt = job.attempt, cause = result.cause, by = result.by }
  local fields, log = result.fields or {}, extended_log(job, row, job.worker)
  for _, word in ipairs({ 'state', result.to, 'cause', result.cause, 'ended', format_int(result.at_ms),
    unpack(log and { 'log', log } or {}) }) do
    fields[#fields + 1] = word
  end
  if (job.token or '') ~= '' then
    fields[#fields + 1], fields[#fields + 2] = 'token', short_token(job.token)
  end
  redis.call('HSET', job_key, unpack(fields))
  redis.call('HDEL', job_key, unpack(FIELDS_OF_ACTIVE_JOB))
  move_state(id, job.state, result.to, result.at_ms)
  if not log then
    add_history(id, row)
  end
  local ttl_ms = format_int(result.keep_ms + EXPIRY_SLACK_MS)
  local kept = result.kept
  if tonumber(job.attempt) > 1 then
    kept = kept + (tonumber(redis.call('HGET', job_key, 'kept_before')) or 0)
    for attempt = 1, math.min(tonumber(job.attempt) - 1, MAX_ATTEMPTS) do
      expire_output(id, attempt, ttl_ms)
    end
    visited_outputs = visited_outputs + math.min(tonumber(job.attempt), MAX_ATTEMPTS)
  end
  if kept > 0 then
    -- Not 0 if an expired job had the same id.
    local before = tonumber(redis.call('HGET', T .. ':kept', id) or '0')
    redis.call('HSET', T .. ':kept', id, format_int(kept))
    redis.call('HINCRBY', T .. ':counters', 'kept', format_int(kept - before))
  end
  redis.call('PEXPIRE', job_key, ttl_ms)
  redis.call('PEXPIRE', T .. ':text:' .. id, ttl_ms)
  if not job.spec then
    redis.call('PEXPIRE', T .. ':spec:' .. id, ttl_ms)
  end
  if job.stdin ~= false then
    redis.call('PEXPIRE', T .. ':stdin:' .. id, ttl_ms)
  end
  if job.output ~= false then
    expire_output(id, job.attempt, ttl_ms)
  end
  announce(id, result.to)
end
