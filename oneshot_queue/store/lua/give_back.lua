-- Requeue a claimed job that provably never began: the same attempt waits again, at the end of its stream.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  job (hash)
-- ARGV[1]  job id
-- ARGV[2]  token
-- ARGV[3]  lease
-- ARGV[4]  name of the worker, for the history
-- ARGV[5]  why, for the history
-- ARGV[6]  limit for counted returns of this job, at which it ends as poison; '' not to count this one
-- ARGV[7]  ms to keep a FAILED or INTERRUPTED job
--
-- Uses  ending returning
-- Builds  ready:, delayed, expiring, job:, spec:, stdin:, text:, output:, state:, intents:, events:, bell, kept,
-- counters
-- Returns {"returned"}, {"finished", state} if the job ended instead, {"done"} if an earlier call returned it, or
-- {"fenced"} if the attempt is not the job's current one, or was settled without its worker

local token, lease, state, attempt, entry, priority, interrupt_by, changed, decided =
  unpack(redis.call('HMGET', KEYS[2],
    'token', 'lease', 'state', 'attempt', 'entry', 'priority', 'interrupt_by', 'changed', 'decided'))
local id = ARGV[1]
if decided == ARGV[2] then
  return { 'fenced' }
end
if token == ARGV[2] and state == 'CREATED' and not lease then
  return { 'done' }
end
if token ~= ARGV[2] or lease ~= ARGV[3] or not state or IS_FINAL[state] then
  return { 'fenced' }
end

local job = { state = state, attempt = attempt, entry = entry, priority = priority, lease = lease, token = token }
local at_ms = happened_ms(0, changed)
begin_writing()
local returns = ARGV[6] == '' and 0 or redis.call('HINCRBY', KEYS[2], 'returns', 1)
if interrupt_by then
  end_job(id, job, { to = 'INTERRUPTED', at_ms = at_ms, cause = 'interrupted', by = interrupt_by,
    keep_ms = tonumber(ARGV[7]), kept = 0 })
  return { 'finished', 'INTERRUPTED' }
end
if returns > 0 and returns >= tonumber(ARGV[6]) then
  add_text(id, 'error', 'claimed ' .. returns .. ' times; each time the worker was lost before the job began')
  end_job(id, job, { to = 'FAILED', at_ms = at_ms, cause = 'poison', by = ARGV[4], keep_ms = tonumber(ARGV[7]),
    kept = 0 })
  return { 'finished', 'FAILED' }
end
requeue_job(id, job, at_ms, ARGV[5], ARGV[4])
return { 'returned' }
