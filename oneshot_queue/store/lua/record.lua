-- Write down what a running attempt does: its process id, silence, activity.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  job (hash)
-- ARGV[1]  job id
-- ARGV[2]  token
-- ARGV[3]  lease
-- ARGV[4]  sequence number within the attempt
-- ARGV[5]  event of the state machine, or '' for none
-- ARGV[6]  how long ago it happened, in ms
-- ARGV[7]  name of the worker, for the history
-- ARGV[8...]  field, value, ... to set
--
-- Builds  state:, text:, job:, events:
-- Returns {"recorded", state}, {"done"} if it was recorded before, {"fenced"}, or {"refused", state}

local job = redis.call('HMGET', KEYS[2], 'token', 'lease', 'state', 'seq', 'attempt', 'changed')
-- Of a job that has ended no more is known than which attempt was its last.
local is_its_end = IS_FINAL[job[3]] and job[1] == short_token(ARGV[2])
if not is_its_end and (job[1] ~= ARGV[2] or job[2] ~= ARGV[3] or not job[3]) then
  return { 'fenced' }
end
if tonumber(ARGV[4]) <= (tonumber(job[4]) or 0) then
  return { 'done' }
end
local id, state = ARGV[1], job[3]
local to = state
if ARGV[5] ~= '' then
  to = next_state(state, ARGV[5])
end
if not to or IS_FINAL[to] then
  return { 'refused', state }
end

begin_writing()
redis.call('HSET', KEYS[2], 'seq', ARGV[4], unpack(ARGV, 8))
if to ~= state then
  local at_ms = happened_ms(ARGV[6], job[6])
  redis.call('HSET', KEYS[2], 'state', to, 'changed', digits(at_ms))
  move_state(id, state, to, at_ms)
  add_history(id, { state = to, at_ms = at_ms, attempt = job[5], cause = '', by = ARGV[7] })
  announce(id, to)
end
return { 'recorded', to }
