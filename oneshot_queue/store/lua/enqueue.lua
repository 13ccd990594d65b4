-- Accept jobs: each once and whole, or not at all. The same id again is the same job.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, only named: see base.lua
-- ARGV[1]  who asks, for the history
-- ARGV[2]  most jobs that may wait or run in this queue
-- ARGV[3...] for each job: id, packed spec, priority (high, normal or low), stdin or '', when it is due (ms from now with
--          a leading '+', ms since 1970, or '' for at once), ms from now until it need not be started any more or '', and
--          when to run it again ("<retries> <first ms> <longest ms> <1 if also when its worker is lost>") or ''
--
-- Builds  ready:, delayed, expiring, state:, job:, spec:, stdin:, text:, bell
-- Returns {"submitted", answer, ...}: "created", "exists", or how many jobs wait or run where that is the most

local function submit(id, spec, priority, stdin, due, expires, retry)
  local at_ms = now_ms()
  local due_ms = 0
  if due ~= '' then
    due_ms = tonumber(due) + (string.sub(due, 1, 1) == '+' and at_ms or 0)
  end
  local place, at = 'entry', ''
  if due_ms > at_ms then
    place, at = 'due', digits(due_ms)
    redis.call('ZADD', T .. ':delayed', at, id)
  else
    at = redis.call('XADD', T .. ':ready:' .. priority, '*', 'id', id)
  end
  local job = { 'state', 'CREATED', 'attempt', '1', 'priority', priority, place, at, 'created', digits(at_ms) }
  local row = { state = 'CREATED', at_ms = at_ms, attempt = '1', cause = '', by = ARGV[1] }
  local function set(field, value)
    job[#job + 1] = field
    job[#job + 1] = value
  end
  local log = log_with({ log = '', created = digits(at_ms) }, row)
  if log then
    set('log', log)
  end
  if #spec <= MOST_FIELD then
    set('spec', spec)
  else
    redis.call('SET', T .. ':spec:' .. id, spec)
  end
  if stdin ~= '' then
    set('stdin', '1')
    redis.call('SET', T .. ':stdin:' .. id, stdin)
  end
  if expires ~= '' then
    local late = digits(at_ms + tonumber(expires))
    redis.call('ZADD', T .. ':expiring', late, id)
    set('expires', late)
  end
  if retry ~= '' then
    set('retry', retry)
  end
  redis.call('HSET', T .. ':job:' .. id, unpack(job))
  if not log then
    add_row(id, row)
  end
  redis.call('ZADD', T .. ':state:CREATED', digits(at_ms), id)
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
    answers[#answers + 1] = digits(length)
  else
    submit(unpack(ARGV, i, i + 6))
    answers[#answers + 1] = 'created'
    length = length + 1
  end
end
return { 'submitted', unpack(answers) }
