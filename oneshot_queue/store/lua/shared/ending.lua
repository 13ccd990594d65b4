-- The end of a job, and what is forgotten because of it.
--
-- Uses  placing

local FINAL = { 'INTERRUPTED', 'COMPLETED', 'FAILED' }
local MAX_REMOVALS = 100
local MAX_ATTEMPTS = 1001
-- A job may have had a thousand attempts. A call that came across the output of so many leaves the other jobs to the next.
local MAX_OUTPUTS = 2000
local outputs = 0
-- Keys outlive their index entry by an hour, so that pruning, which keeps the totals right, comes first.
local SLACK_MS = 3600000

local function output_keys(id, attempt)
  local key = T .. ':output:' .. id .. ':' .. attempt
  return key, key .. ':stdout', key .. ':stderr'
end

local function expire_output(id, attempt, ttl_ms)
  for _, key in ipairs({ output_keys(id, attempt) }) do
    redis.call('PEXPIRE', key, ttl_ms)
  end
end

local function forget_kept(id)
  local kept = redis.call('HGET', T .. ':kept', id)
  if kept then
    redis.call('HDEL', T .. ':kept', id)
    redis.call('HINCRBY', T .. ':counters', 'kept', '-' .. kept)
  end
end

-- Remove a finished job with all its keys and index entries.
local function remove_job(id, state)
  local job = redis.call('HMGET', T .. ':job:' .. id, 'attempt', 'state')
  local attempts = math.max(1, math.min(tonumber(job[1] or '1') or 1, MAX_ATTEMPTS))
  redis.call('ZREM', T .. ':state:' .. state, id)
  -- An old job's keys may expire before its index entry is pruned. Then they belong to a new job of the same id.
  local is_another = job[2] and job[2] ~= state
  if not (is_another and IS_FINAL[job[2]]) then
    forget_kept(id)
  end
  if is_another then
    return
  end
  redis.call('UNLINK', T .. ':job:' .. id, T .. ':spec:' .. id, T .. ':text:' .. id, T .. ':stdin:' .. id)
  for attempt = 1, attempts do
    redis.call('UNLINK', output_keys(id, attempt))
  end
  outputs = outputs + attempts
end

-- The finished job that ended first: id and state, or nil.
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

-- Forget the oldest finished jobs beyond the limits, at most `most`; returns how many. Never `spared`, which has only just
-- ended: whoever waits for it shall find it.
local function prune_beyond(max_jobs, max_bytes, most, spared)
  local count = 0
  for _, final in ipairs(FINAL) do
    count = count + redis.call('ZCARD', T .. ':state:' .. final)
  end
  local removed = 0
  while removed < most and outputs < MAX_OUTPUTS do
    local kept = tonumber(redis.call('HGET', T .. ':counters', 'kept') or '0')
    if count <= max_jobs and kept <= max_bytes then
      break
    end
    local id, state = oldest_finished()
    if not id or id == spared then
      break
    end
    remove_job(id, state)
    count, removed = count - 1, removed + 1
  end
  return removed
end

-- What is of no use any more when a job has ended; that it changed then is said by `ended`.
local OF_A_LIFE = { 'entry', 'lease', 'changed', 'ordinal', 'expiry' }

-- Take a job into its final state: out of the stream, into the index, with an end to all its keys.
--
-- The caller has begun writing.
--
-- Where a key is damaged the script ends there. So what is known of the end is written with the state, or before it: what
-- is final is not written once more.
--
-- job: {state, attempt, entry, priority, lease, due, expires}, and, as they stand in its hash, or nil if that is not known:
-- {spec, stdin, output, log, created, worker, token}; ending: {to, at_ms, cause, by, keep_ms, kept}, and, if there are any,
-- error: a text for people, and fields: field, value, ... of the job
local function end_job(id, job, ending)
  step_out(id, job)
  local job_key = T .. ':job:' .. id
  add_text(id, 'error', ending.error or '')
  local row = { state = ending.to, at_ms = ending.at_ms, attempt = job.attempt, cause = ending.cause, by = ending.by }
  local fields, log = ending.fields or {}, log_with(job, row, job.worker)
  for _, word in ipairs({ 'state', ending.to, 'cause', ending.cause, 'ended', digits(ending.at_ms),
    unpack(log and { 'log', log } or {}) }) do
    fields[#fields + 1] = word
  end
  if (job.token or '') ~= '' then
    fields[#fields + 1], fields[#fields + 2] = 'token', short_token(job.token)
  end
  redis.call('HSET', job_key, unpack(fields))
  redis.call('HDEL', job_key, unpack(OF_A_LIFE))
  move_state(id, job.state, ending.to, ending.at_ms)
  if not log then
    add_history(id, row)
  end
  local ttl_ms = digits(ending.keep_ms + SLACK_MS)
  local kept = ending.kept
  if tonumber(job.attempt) > 1 then
    kept = kept + (tonumber(redis.call('HGET', job_key, 'kept_before')) or 0)
    for attempt = 1, math.min(tonumber(job.attempt) - 1, MAX_ATTEMPTS) do
      expire_output(id, attempt, ttl_ms)
    end
    outputs = outputs + math.min(tonumber(job.attempt), MAX_ATTEMPTS)
  end
  if kept > 0 then
    local before = tonumber(redis.call('HGET', T .. ':kept', id) or '0') -- of an expired job of the same id
    redis.call('HSET', T .. ':kept', id, digits(kept))
    redis.call('HINCRBY', T .. ':counters', 'kept', digits(kept - before))
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
  announce(id, ending.to)
end
