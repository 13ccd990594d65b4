-- Say that an attempt is being run, or was, to a server that may have forgotten that it handed it out.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  job (hash)
-- ARGV[1]  job id
-- ARGV[2]  token
-- ARGV[3]  lease
-- ARGV[4]  attempt
-- ARGV[5]  name of the worker
-- ARGV[6]  its host
-- ARGV[7]  how long ago it was started, in ms
--
-- Uses  placing entries
-- Builds  ready:, delayed, expiring, intents:, job:, state:, text:, events:, bell
-- Returns {"kept"} if it is on record, {"adopted"} if it is again, or {"fenced"} if the job is another's, or has ended

local job = redis.call('HMGET', KEYS[2], 'token', 'lease', 'state', 'attempt', 'entry', 'priority', 'changed', 'due',
  'expires', 'created')
local id, state = ARGV[1], job[3]
if state and not IS_FINAL[state] and job[1] == ARGV[2] and job[2] == ARGV[3] then
  return { 'kept' }
end
local function number_of(token)
  return tonumber(string.match(token or '', '^%d+')) or 0
end
if state ~= 'CREATED' or job[4] ~= ARGV[4] or number_of(job[1]) >= number_of(ARGV[2]) then
  return { 'fenced' }
end

local at_ms, to, priority = happened_ms(ARGV[7], job[7] or job[10]), next_state(state, 'start'), job[6]
begin_writing()
step_out(id, { entry = job[5], priority = priority, due = job[8], expires = job[9] })
if job[9] then
  redis.call('HDEL', KEYS[2], 'expires')
  redis.call('HSET', KEYS[2], 'expiry', job[9]) -- should it come back without having begun
end
line_up(id, priority)
hold_entry(T .. ':ready:' .. priority, redis.call('HGET', KEYS[2], 'entry'), ARGV[3])
redis.call('HSET', KEYS[2], 'state', to, 'token', ARGV[2], 'lease', ARGV[3], 'worker', ARGV[5], 'host', ARGV[6], 'started',
  digits(at_ms), 'changed', digits(at_ms))
move_state(id, state, to, at_ms)
add_history(id, { state = to, at_ms = at_ms, attempt = ARGV[4], cause = 'adopted', by = ARGV[5] })
announce(id, to)
return { 'adopted' }
