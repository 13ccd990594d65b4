-- Functions that settle the jobs of a lost worker: mark them lost, retry them, or record their interrupt.
--
-- Uses  ending returning

-- Milliseconds until the next attempt, or nil if the job has no retry left for a lost worker. `retry` holds
-- "<retries> <first ms> <longest ms> <1 if a lost worker counts>".
--
-- spread: fraction of the full delay to wait, in [0.5, 1]
local function retry_delay_after_loss(job, spread)
  local retries, first, longest, when_lost = string.match(job.retry or '', '^(%d+) (%d+) (%d+) ([01])$')
  local attempt = tonumber(job.attempt)
  if when_lost ~= '1' or attempt > tonumber(retries) then
    return nil
  end
  return math.floor(math.min(tonumber(longest), tonumber(first) * 2 ^ math.min(attempt - 1, 32)) * spread)
end

-- Read the fields of a job that are needed to settle it. Returns nil if the job is missing or unreadable.
local function read_job_to_settle(id)
  local reply = redis.pcall('HMGET', T .. ':job:' .. id,
    'state', 'attempt', 'entry', 'priority', 'lease', 'interrupt_by', 'changed', 'retry',
    'bytes', 'dropped', 'token', 'spec', 'stdin', 'log', 'output', 'created', 'ended')
  if reply.err then
    return nil
  end
  local state, attempt, entry, priority, lease, interrupt_by, changed, retry,
    bytes, dropped, token, spec, stdin, log, output, created, ended = unpack(reply)
  if not state or not ({ high = true, normal = true, low = true })[priority] then
    return nil
  end
  local text_length = log and 0 or redis.pcall('STRLEN', T .. ':text:' .. id)
  attempt, entry = string.match(attempt or '', '^%d%d?%d?%d?$'), string.match(entry or '', '^%d+%-%d+$')
  if not attempt or type(text_length) == 'table' then
    return nil
  end
  return { state = state, attempt = attempt, entry = entry, priority = priority, lease = lease,
    interrupt_by = interrupt_by, changed = changed or ended or created, retry = retry, token = token or '', spec = spec,
    stdin = stdin, output = output, kept = (tonumber(bytes) or 0) - (tonumber(dropped) or 0) }
end

-- Settle a RUNNING or IDLE job without its worker: end it, or start a retry.
--
-- settlement: {by, error, spread, confirmed ('1' if its processes are known to be gone, else '0'), keep_ms}
local function settle_lost_job(id, job, settlement)
  local at_ms = happened_ms(0, job.changed)
  -- If the worker returns, it must not mistake this result for its own.
  redis.call('HSET', T .. ':job:' .. id, 'decided', job.token)
  if job.interrupt_by then
    redis.call('HSET', T .. ':job:' .. id, 'confirmed', settlement.confirmed)
    end_job(id, job, { to = 'INTERRUPTED', at_ms = at_ms, cause = 'interrupted', by = job.interrupt_by,
      keep_ms = settlement.keep_ms, kept = job.kept })
    return
  end
  local delay_ms = retry_delay_after_loss(job, settlement.spread)
  if delay_ms then
    retry_job(id, job, at_ms, delay_ms, { cause = 'worker_lost', by = settlement.by, kept = job.kept })
    return
  end
  redis.call('HSET', T .. ':job:' .. id, 'confirmed', settlement.confirmed)
  add_text(id, 'error', settlement.error)
  end_job(id, job, { to = 'FAILED', at_ms = at_ms, cause = 'worker_lost', by = settlement.by,
    keep_ms = settlement.keep_ms, kept = job.kept })
end
