-- Record what happens in a running attempt: its process id, silence, activity.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  job (hash)
-- ARGV[1]  job id
-- ARGV[2]  token
-- ARGV[3]  lease
-- ARGV[4]  sequence number within the attempt
-- ARGV[5]  event of the state machine, or '' for none
-- ARGV[6]  ms since it happened
-- ARGV[7]  name of the worker, for the history
-- ARGV[8...]  field, value, ... to set
--
-- Builds  state:, text:, job:, events:
-- Returns {"recorded", state}, {"done"} if it was recorded before, {"fenced"}, or {"refused", state}

local token, lease, state, seq, attempt, changed =
  unpack(redis.call('HMGET', KEYS[2],
    'token', 'lease', 'state', 'seq', 'attempt', 'changed'))
-- A finished job has no lease, and of its token only enough to recognise its last attempt.
local is_finished_attempt = IS_FINAL[state] and token == short_token(ARGV[2])
if not is_finished_attempt and (token ~= ARGV[2] or lease ~= ARGV[3] or not state) then
  return { 'fenced' }
end
if tonumber(ARGV[4]) <= (tonumber(seq) or 0) then
  return { 'done' }
end
local id, to = ARGV[1], state
if ARGV[5] ~= '' then
  to = next_state(state, ARGV[5])
end
if not to or IS_FINAL[to] then
  return { 'refused', state }
end

begin_writing()
redis.call('HSET', KEYS[2], 'seq', ARGV[4], unpack(ARGV, 8))
if to ~= state then
  local at_ms = happened_ms(ARGV[6], changed)
  redis.call('HSET', KEYS[2], 'state', to, 'changed', format_int(at_ms))
  move_state(id, state, to, at_ms)
  add_history(id, { state = to, at_ms = at_ms, attempt = attempt, cause = '', by = ARGV[7] })
  announce(id, to)
end
return { 'recorded', to }
