-- Accept a job: once and whole, or not at all. The same id again is the same job.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  job (hash)
-- ARGV[1]  job id
-- ARGV[2]  packed spec
-- ARGV[3]  priority: high, normal or low
-- ARGV[4]  stdin, or ''
-- ARGV[5]  who asks, for the history
-- ARGV[6]  most jobs that may wait or run in this queue
-- ARGV[7]  when it is due: ms from now with a leading '+', ms since 1970, or '' for at once
-- ARGV[8]  ms from now until it need not be started any more, or ''
-- ARGV[9]  when to run it again: "<retries> <first ms> <longest ms> <1 if also when its worker is lost>", or ''
--
-- Builds  ready:, delayed, expiring, state:, job:, spec:, stdin:, text:, bell
-- Returns {"created"}, {"exists"} or {"full", length}

if redis.call('EXISTS', KEYS[2]) == 1 then
  return { 'exists' }
end
local length = 0
for _, state in ipairs({ 'CREATED', 'RUNNING', 'IDLE' }) do
  length = length + redis.call('ZCARD', T .. ':state:' .. state)
end
if length >= tonumber(ARGV[6]) then
  return { 'full', digits(length) }
end

local id, at_ms = ARGV[1], now_ms()
local due_ms = 0
if ARGV[7] ~= '' then
  due_ms = tonumber(ARGV[7]) + (string.sub(ARGV[7], 1, 1) == '+' and at_ms or 0)
end
local place, at = 'entry', ''
if due_ms > at_ms then
  place, at = 'due', digits(due_ms)
  redis.call('ZADD', T .. ':delayed', at, id)
else
  at = redis.call('XADD', T .. ':ready:' .. ARGV[3], '*', 'id', id)
end
local job = { 'state', 'CREATED', 'attempt', '1', 'priority', ARGV[3], place, at, 'created', digits(at_ms) }
local row = { state = 'CREATED', at_ms = at_ms, attempt = '1', cause = '', by = ARGV[5] }
local function set(field, value)
  job[#job + 1] = field
  job[#job + 1] = value
end
local log = log_with({ log = '', created = digits(at_ms) }, row)
if log then
  set('log', log)
end
if #ARGV[2] <= MOST_FIELD then
  set('spec', ARGV[2])
else
  redis.call('SET', T .. ':spec:' .. id, ARGV[2])
end
if ARGV[4] ~= '' then
  set('stdin', '1')
  redis.call('SET', T .. ':stdin:' .. id, ARGV[4])
end
if ARGV[8] ~= '' then
  local expires = digits(at_ms + tonumber(ARGV[8]))
  redis.call('ZADD', T .. ':expiring', expires, id)
  set('expires', expires)
end
if ARGV[9] ~= '' then
  set('retry', ARGV[9])
end
redis.call('HSET', KEYS[2], unpack(job))
if not log then
  add_row(id, row)
end
redis.call('ZADD', T .. ':state:CREATED', digits(at_ms), id)
ring_bell()
return { 'created' }
