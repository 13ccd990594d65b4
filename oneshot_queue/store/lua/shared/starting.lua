-- From CREATED to RUNNING, for both ways of claiming.

local given, tokens = 0, 0

-- A token no earlier attempt can have had: `<number>-<hex>`, the number later than that of the job's last one, and, should
-- a crash have lost that, later in time. Within one script time may stand still, so each also follows the one given
-- before. The rest, 32 characters of the claimer's seed, nobody can guess: it marks the attempt's processes.
local function next_token(previous, seed)
  local before = tonumber(string.match(previous or '', '^%d+')) or 0
  given = math.max(time_us(), before + 1, given + 1)
  tokens = tokens + 1
  return digits(given) .. '-' .. string.sub(seed, tokens * 32 - 31, tokens * 32)
end

local function is_token(text)
  return text and #text <= 64 and string.find(text, '^%d+%-%x+$') ~= nil
end

-- What a claim needs to know of a job, or nil if there is none that can be read.
local function read_job(job_key)
  local job = redis.pcall('HMGET', job_key, 'state', 'entry', 'lease', 'priority', 'attempt', 'token', 'changed',
    'due', 'expires', 'spec', 'stdin', 'log', 'created')
  if job.err or not job[1] or not (IS_FINAL[job[1]] or next_state(job[1], 'interrupt')) then
    return nil
  end
  return { state = job[1], entry = job[2], lease = job[3], priority = job[4], attempt = job[5], token = job[6],
    changed = job[7] or job[13], due = job[8], expires = job[9], spec = job[10], stdin = job[11], log = job[12],
    created = job[13] }
end

local MOST_SPEC, MOST_STDIN = 1048576, 1048576

local function is_number(text, most_digits)
  return text and #text <= most_digits and string.find(text, '^%d+$') ~= nil
end

-- Whether a key holds a text that can be one of ours, or nothing: a longer one nobody shall have to read.
local function has_text(key, most)
  local length = redis.pcall('STRLEN', key)
  return type(length) ~= 'table' and length <= most
end

-- Whether the spec and the stdin of a job can be read. job: {spec, stdin}, as they stand in its hash
local function has_texts(id, job)
  return (job.spec or has_text(T .. ':spec:' .. id, MOST_SPEC))
      and (not job.stdin or has_text(T .. ':stdin:' .. id, MOST_STDIN))
end

-- The spec and the stdin of a job, each '' if there is none; nil if one of them cannot be one.
local function read_texts(id, job)
  if has_texts(id, job) then
    return job.spec or redis.call('GET', T .. ':spec:' .. id) or '',
      job.stdin and redis.call('GET', T .. ':stdin:' .. id) or ''
  end
end

-- The spec and the stdin of a waiting job, or nil if it is none or a part of it is damaged: then it must not be started.
local function read_spec(id, job)
  if not job or job.state ~= 'CREATED' or not is_number(job.attempt, 9)
      or (not job.log and type(redis.pcall('STRLEN', T .. ':text:' .. id)) == 'table') then
    return nil
  end
  return read_texts(id, job)
end

-- Give a CREATED job to a lease. claimer: {worker, host, seed}. Returns what the worker needs: id, attempt, token, spec, stdin.
local function start_job(id, job, spec, stdin, lease, claimer)
  local token, at_ms = next_token(job.token, claimer.seed), happened_ms(0, job.changed)
  local state, job_key = next_state('CREATED', 'start'), T .. ':job:' .. id
  local row = { state = state, at_ms = at_ms, attempt = job.attempt, cause = '', by = claimer.worker }
  local log = log_with(job, row, claimer.worker)
  redis.call('HSET', job_key, 'state', state, 'token', token, 'lease', lease, 'worker', claimer.worker, 'host',
    claimer.host, 'started', digits(at_ms), 'changed', digits(at_ms), unpack(log and { 'log', log } or {}))
  if job.expires then
    redis.call('ZREM', T .. ':expiring', id)
    redis.call('HDEL', job_key, 'expires')
    redis.call('HSET', job_key, 'expiry', job.expires) -- should it come back without having begun
  end
  move_state(id, 'CREATED', state, at_ms)
  if not log then
    add_row(id, row)
  end
  announce(id, state)
  return { id, job.attempt, token, spec, stdin }
end
