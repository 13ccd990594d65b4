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
--
-- Builds  ready:, state:, spec:, stdin:, text:, bell
-- Returns {"created"}, {"exists"} or {"full", length}

if redis.call('EXISTS', KEYS[2]) == 1 then
  return { 'exists' }
end
local length = 0
for _, priority in ipairs({ 'high', 'normal', 'low' }) do
  length = length + redis.call('XLEN', T .. ':ready:' .. priority)
end
if length >= tonumber(ARGV[6]) then
  return { 'full', digits(length) }
end

local id, at_ms = ARGV[1], now_ms()
local entry = redis.call('XADD', T .. ':ready:' .. ARGV[3], '*', 'id', id)
redis.call('HSET', KEYS[2], 'state', 'CREATED', 'attempt', '1', 'priority', ARGV[3], 'entry', entry, 'created',
  digits(at_ms), 'changed', digits(at_ms), 'rows', '1')
redis.call('SET', T .. ':spec:' .. id, ARGV[2])
if ARGV[4] ~= '' then
  redis.call('SET', T .. ':stdin:' .. id, ARGV[4])
end
redis.call('SET', T .. ':text:' .. id, table.concat({ digits(at_ms), '1', 'CREATED', '', ARGV[5] }, '\t') .. '\n')
redis.call('ZADD', T .. ':state:CREATED', digits(at_ms), id)
ring_bell()
return { 'created' }
