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
-- Builds  ready:, delayed, expiring, state:, spec:, stdin:, text:, bell
-- Returns {"created"}, {"exists"} or {"full", length}

if redis.call('EXISTS', KEYS[2]) == 1 then
  return { 'exists' }
end
local length = redis.call('ZCARD', T .. ':delayed')
for _, priority in ipairs(PRIORITIES) do
  length = length + redis.call('XLEN', T .. ':ready:' .. priority)
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
redis.call('HSET', KEYS[2], 'state', 'CREATED', 'attempt', '1', 'priority', ARGV[3], place, at, 'created',
  digits(at_ms), 'changed', digits(at_ms), 'rows', '1')
if ARGV[8] ~= '' then
  local expires = digits(at_ms + tonumber(ARGV[8]))
  redis.call('ZADD', T .. ':expiring', expires, id)
  redis.call('HSET', KEYS[2], 'expires', expires)
end
if ARGV[9] ~= '' then
  redis.call('HSET', KEYS[2], 'retry', ARGV[9])
end
redis.call('SET', T .. ':spec:' .. id, ARGV[2])
if ARGV[4] ~= '' then
  redis.call('SET', T .. ':stdin:' .. id, ARGV[4])
end
redis.call('SET', T .. ':text:' .. id, table.concat({ digits(at_ms), '1', 'CREATED', '', ARGV[5] }, '\t') .. '\n')
redis.call('ZADD', T .. ':state:CREATED', digits(at_ms), id)
ring_bell()
return { 'created' }
