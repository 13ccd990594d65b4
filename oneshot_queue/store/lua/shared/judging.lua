-- What becomes of a job whose worker is gone.
--
-- Uses  ending returning

-- Whether the job asked to be run again then, and after how many ms: `retry` is "<retries> <first ms> <longest ms> <1 if
-- also when the worker is lost>". spread: where in [0.5, 1] of the full wait to land.
local function delay_after_loss(job, spread)
  local retries, first, longest, when_lost = string.match(job.retry or '', '^(%d+) (%d+) (%d+) ([01])$')
  local attempt = tonumber(job.attempt)
  if when_lost ~= '1' or attempt > tonumber(retries) then
    return nil
  end
  return math.floor(math.min(tonumber(longest), tonumber(first) * 2 ^ math.min(attempt - 1, 32)) * spread)
end

-- What a verdict needs to know of a job, or nil if there is none that can be read.
local function held_job(id)
  local job = redis.pcall('HMGET', T .. ':job:' .. id, 'state', 'attempt', 'entry', 'priority', 'lease', 'interrupt_by',
    'changed', 'retry', 'bytes', 'dropped', 'token', 'spec', 'stdin', 'log', 'output', 'created', 'ended')
  if job.err or not job[1] or not ({ high = true, normal = true, low = true })[job[4]] then
    return nil
  end
  local text_length = job[14] and 0 or redis.pcall('STRLEN', T .. ':text:' .. id)
  local attempt, entry = string.match(job[2] or '', '^%d%d?%d?%d?$'), string.match(job[3] or '', '^%d+%-%d+$')
  if not attempt or type(text_length) == 'table' then
    return nil
  end
  return { state = job[1], attempt = attempt, entry = entry, priority = job[4], lease = job[5], interrupt_by = job[6],
    changed = job[7] or job[17] or job[16], retry = job[8], token = job[11] or '', spec = job[12], stdin = job[13],
    output = job[15], kept = (tonumber(job[9]) or 0) - (tonumber(job[10]) or 0) }
end

-- End a RUNNING or IDLE job without its worker, or let it begin again. verdict: {by, error, spread, confirmed ('1' if its
-- processes are known to be gone, '0'), keep_ms}
local function decide_lost(id, job, verdict)
  local at_ms = happened_ms(0, job.changed)
  -- Should its worker come back, it must not take this end for its own.
  redis.call('HSET', T .. ':job:' .. id, 'decided', job.token)
  if job.interrupt_by then
    redis.call('HSET', T .. ':job:' .. id, 'confirmed', verdict.confirmed)
    end_job(id, job, { to = 'INTERRUPTED', at_ms = at_ms, cause = 'interrupted', by = job.interrupt_by,
      keep_ms = verdict.keep_ms, kept = job.kept })
    return
  end
  local delay_ms = delay_after_loss(job, verdict.spread)
  if delay_ms then
    retry_job(id, job, at_ms, delay_ms, { cause = 'worker_lost', by = verdict.by, kept = job.kept })
    return
  end
  redis.call('HSET', T .. ':job:' .. id, 'confirmed', verdict.confirmed)
  add_text(id, 'error', verdict.error)
  end_job(id, job, { to = 'FAILED', at_ms = at_ms, cause = 'worker_lost', by = verdict.by, keep_ms = verdict.keep_ms,
    kept = job.kept })
end
