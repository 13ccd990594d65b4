-- Store jobs, each completely or not at all. Enqueueing an id again creates no second job.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, passed for routing only: see base.lua
-- ARGV[1]  name of the caller, for the history
-- ARGV[2]  limit for unfinished jobs of this queue
-- ARGV[3...] for each job: id; packed spec; priority (high, normal or low); stdin or ''; due time (ms from now with a
--          leading '+', ms since 1970, or '' for now); ms from now until its start deadline, or ''; and retry policy
--          ("<retries> <first ms> <longest ms> <1 if a lost worker counts>"), or ''
--
-- Builds  ready:, delayed, expiring, state:, job:, spec:, stdin:, text:, bell
-- Returns {"enqueued", answer, ...}, an answer for each job: "created", "exists", or the number of unfinished jobs if
-- the queue is full

local function enqueue(id, spec, priority, stdin, due, expires, retry)
  local at_ms = now_ms()
  local due_ms = 0
  if due ~= '' then
    due_ms = tonumber(due) + (string.sub(due, 1, 1) == '+' and at_ms or 0)
  end
  local place_field, place = 'entry', ''
  if due_ms > at_ms then
    place_field, place = 'due', format_int(due_ms)
    redis.call('ZADD', T .. ':delayed', place, id)
  else
    place = redis.call('XADD', T .. ':ready:' .. priority, '*', 'id', id)
  end
  local job = { 'state', 'CREATED', 'attempt', '1', 'priority', priority, place_field, place, 'created',
    format_int(at_ms) }
  local row = { state = 'CREATED', at_ms = at_ms, attempt = '1', cause = '', by = ARGV[1] }
  local function set(field, value)
    job[#job + 1] = field
    job[#job + 1] = value
  end
  local log = extended_log({ log = '', created = format_int(at_ms) }, row)
  if log then
    set('log', log)
  end
  if #spec <= MAX_FIELD_BYTES then
    set('spec', spec)
  else
    redis.call('SET', T .. ':spec:' .. id, spec)
  end
  if stdin ~= '' then
    set('stdin', '1')
    redis.call('SET', T .. ':stdin:' .. id, stdin)
  end
  if expires ~= '' then
    local expires_ms = format_int(at_ms + tonumber(expires))
    redis.call('ZADD', T .. ':expiring', expires_ms, id)
    set('expires', expires_ms)
  end
  if retry ~= '' then
    set('retry', retry)
  end
  redis.call('HSET', T .. ':job:' .. id, unpack(job))
  if not log then
    add_row(id, row)
  end
  redis.call('ZADD', T .. ':state:CREATED', format_int(at_ms), id)
  ring_bell()
end

local length = 0
for _, state in ipairs({ 'CREATED', 'RUNNING', 'IDLE' }) do
  length = length + redis.call('ZCARD', T .. ':state:' .. state)
end
local answers = {}
for i = 3, #ARGV, 7 do
  if redis.call('EXISTS', T .. ':job:' .. ARGV[i]) == 1 then
    answers[#answers + 1] = 'exists'
  elseif length >= tonumber(ARGV[2]) then
    answers[#answers + 1] = format_int(length)
  else
    enqueue(unpack(ARGV, i, i + 6))
    answers[#answers + 1] = 'created'
    length = length + 1
  end
end
return { 'enqueued', unpack(answers) }
