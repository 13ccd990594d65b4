-- Record an attempt that a worker runs or ran, for a server that may have lost the claim.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  job (hash)
-- ARGV[1]  job id
-- ARGV[2]  token
-- ARGV[3]  lease
-- ARGV[4]  attempt
-- ARGV[5]  name of the worker
-- ARGV[6]  its host
-- ARGV[7]  ms since the attempt was started
--
-- Uses  queueing entries
-- Builds  ready:, delayed, expiring, intents:, job:, state:, text:, events:, bell
-- Returns {"kept"} if the attempt is still recorded, {"adopted"} if it is recorded again, or {"fenced"} if the job
-- does not wait for this attempt, or has a newer token

local token, lease, state, attempt, entry, priority, changed, due, expires, created =
  unpack(redis.call('HMGET', KEYS[2],
    'token', 'lease', 'state', 'attempt', 'entry', 'priority', 'changed', 'due', 'expires', 'created'))
local id = ARGV[1]
if state and not IS_FINAL[state] and token == ARGV[2] and lease == ARGV[3] then
  return { 'kept' }
end
local function number_of(text)
  return tonumber(string.match(text or '', '^%d+')) or 0
end
if state ~= 'CREATED' or attempt ~= ARGV[4] or number_of(token) >= number_of(ARGV[2]) then
  return { 'fenced' }
end

local at_ms, to = happened_ms(ARGV[7], changed or created), next_state(state, 'start')
begin_writing()
leave_queue(id, { entry = entry, priority = priority, due = due, expires = expires })
if expires then
  redis.call('HDEL', KEYS[2], 'expires')
  -- Kept in case the job is requeued without having begun.
  redis.call('HSET', KEYS[2], 'expiry', expires)
end
join_queue(id, priority)
assign_entry(T .. ':ready:' .. priority, redis.call('HGET', KEYS[2], 'entry'), ARGV[3])
redis.call('HSET', KEYS[2], 'state', to, 'token', ARGV[2], 'lease', ARGV[3], 'worker', ARGV[5], 'host', ARGV[6],
  'started', format_int(at_ms), 'changed', format_int(at_ms))
move_state(id, state, to, at_ms)
add_history(id, { state = to, at_ms = at_ms, attempt = ARGV[4], cause = 'adopted', by = ARGV[5] })
announce(id, to)
return { 'adopted' }
