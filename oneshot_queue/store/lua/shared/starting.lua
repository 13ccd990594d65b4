-- Functions that take a job from CREATED to RUNNING, for claim and claim_one.

local last_token, token_count = 0, 0

-- Make a token that no earlier attempt can have had: `<number>-<hex>`.
--
-- The number is above that of the job's last token. It is also at least the time in µs, in case a crash lost that
-- token. Time may stand still within a script, so the number is also above that of the token made before. The hex part
-- is unguessable, 32 digits of the claimer's seed: it marks the attempt's processes.
local function next_token(previous, seed)
  local before = tonumber(string.match(previous or '', '^%d+')) or 0
  last_token = math.max(time_us(), before + 1, last_token + 1)
  token_count = token_count + 1
  return format_int(last_token) .. '-' .. string.sub(seed, token_count * 32 - 31, token_count * 32)
end

local function is_token(text)
  return text and #text <= 64 and string.find(text, '^%d+%-%x+$') ~= nil
end

-- Read the fields of a job that a claim needs. Returns nil if the job is missing or unreadable.
local function read_job_to_claim(job_key)
  local reply = redis.pcall('HMGET', job_key,
    'state', 'entry', 'lease', 'priority', 'attempt', 'token', 'changed',
    'due', 'expires', 'spec', 'stdin', 'log', 'created')
  if reply.err then
    return nil
  end
  local state, entry, lease, priority, attempt, token, changed,
    due, expires, spec, stdin, log, created = unpack(reply)
  if not state or not (IS_FINAL[state] or next_state(state, 'interrupt')) then
    return nil
  end
  return { state = state, entry = entry, lease = lease, priority = priority, attempt = attempt, token = token,
    changed = changed or created, due = due, expires = expires, spec = spec, stdin = stdin, log = log,
    created = created }
end

local MAX_SPEC_BYTES, MAX_STDIN_BYTES = 1048576, 1048576

local function is_number(text, max_digits)
  return text and #text <= max_digits and string.find(text, '^%d+$') ~= nil
end

-- Whether a key is missing or holds a string of at most `max_bytes`. Longer strings are not ours, and must not be
-- read.
local function is_readable(key, max_bytes)
  local length = redis.pcall('STRLEN', key)
  return type(length) ~= 'table' and length <= max_bytes
end

-- Whether the spec and the stdin of a job can be read. job: {spec, stdin}, as stored in its hash
local function has_readable_texts(id, job)
  return (job.spec or is_readable(T .. ':spec:' .. id, MAX_SPEC_BYTES))
      and (not job.stdin or is_readable(T .. ':stdin:' .. id, MAX_STDIN_BYTES))
end

-- Returns the spec and the stdin of a job, each '' if missing, or nil if one of them is unreadable.
local function read_texts(id, job)
  if has_readable_texts(id, job) then
    return job.spec or redis.call('GET', T .. ':spec:' .. id) or '',
      job.stdin and redis.call('GET', T .. ':stdin:' .. id) or ''
  end
end

-- Returns the spec and the stdin of a waiting job. Returns nil if the job does not wait, or is damaged and must not be
-- started.
local function read_waiting_texts(id, job)
  if not job or job.state ~= 'CREATED' or not is_number(job.attempt, 9)
      or (not job.log and type(redis.pcall('STRLEN', T .. ':text:' .. id)) == 'table') then
    return nil
  end
  return read_texts(id, job)
end

-- Give a CREATED job to a lease. Returns the row for the worker: id, attempt, token, spec, stdin.
--
-- claimer: {worker, host, seed}
local function start_job(id, job, spec, stdin, lease, claimer)
  local token, at_ms = next_token(job.token, claimer.seed), happened_ms(0, job.changed)
  local state, job_key = next_state('CREATED', 'start'), T .. ':job:' .. id
  local row = { state = state, at_ms = at_ms, attempt = job.attempt, cause = '', by = claimer.worker }
  local log = extended_log(job, row, claimer.worker)
  redis.call('HSET', job_key, 'state', state, 'token', token, 'lease', lease, 'worker', claimer.worker, 'host',
    claimer.host, 'started', format_int(at_ms), 'changed', format_int(at_ms), unpack(log and { 'log', log } or {}))
  if job.expires then
    redis.call('ZREM', T .. ':expiring', id)
    redis.call('HDEL', job_key, 'expires')
    -- Kept in case the job is requeued without having begun.
    redis.call('HSET', job_key, 'expiry', job.expires)
  end
  move_state(id, 'CREATED', state, at_ms)
  if not log then
    add_row(id, row)
  end
  announce(id, state)
  return { id, job.attempt, token, spec, stdin }
end
