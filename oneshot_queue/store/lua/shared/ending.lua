-- The end of a job, and what is forgotten because of it.

local FINAL = { 'INTERRUPTED', 'COMPLETED', 'FAILED' }
local MAX_REMOVALS = 100
-- Keys outlive their index entry by an hour, so that pruning, which keeps the totals right, comes first.
local SLACK_MS = 3600000

local function output_keys(id, attempt)
  local key = T .. ':output:' .. id .. ':' .. attempt
  return key, key .. ':stdout', key .. ':stderr'
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
  local attempts = tonumber(job[1] or '1') or 1
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
  for attempt = 1, math.min(attempts, 1000) do
    redis.call('UNLINK', output_keys(id, attempt))
  end
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
  while removed < most do
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

-- Take a job into its final state: out of the stream, into the index, with an end to all its keys.
--
-- The caller has begun writing.
--
-- job: {state, attempt, entry, priority, lease}; ending: {to, at_ms, cause, by, keep_ms, kept}
local function end_job(id, job, ending)
  redis.call('XACK', T .. ':ready:' .. job.priority, 'workers', job.entry)
  redis.call('XDEL', T .. ':ready:' .. job.priority, job.entry)
  if job.lease ~= '' then
    redis.call('HDEL', T .. ':intents:' .. job.lease, id)
  end
  local job_key = T .. ':job:' .. id
  redis.call('HSET', job_key, 'state', ending.to, 'cause', ending.cause, 'ended', digits(ending.at_ms), 'changed',
    digits(ending.at_ms))
  move_state(id, job.state, ending.to, ending.at_ms)
  add_history(id, ending.to, ending.at_ms, job.attempt, ending.cause, ending.by)
  if ending.kept > 0 then
    local before = tonumber(redis.call('HGET', T .. ':kept', id) or '0') -- of an expired job of the same id
    redis.call('HSET', T .. ':kept', id, digits(ending.kept))
    redis.call('HINCRBY', T .. ':counters', 'kept', digits(ending.kept - before))
  end
  local ttl_ms = digits(ending.keep_ms + SLACK_MS)
  local head, stdout, stderr = output_keys(id, job.attempt)
  for _, key in ipairs({ job_key, T .. ':spec:' .. id, T .. ':text:' .. id, T .. ':stdin:' .. id, head, stdout, stderr }) do
    redis.call('PEXPIRE', key, ttl_ms)
  end
  announce(id, ending.to)
end
