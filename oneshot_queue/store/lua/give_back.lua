-- Return a claimed job that provably never began: the same attempt waits again, at the end of its stream.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  job (hash)
-- ARGV[1]  job id
-- ARGV[2]  token
-- ARGV[3]  lease
-- ARGV[4]  name of the worker, for the history
-- ARGV[5]  why, for the history
-- ARGV[6]  how often this may happen to a job before it ends as poison, or '' if it is not the job's doing
-- ARGV[7]  ms to keep a FAILED or INTERRUPTED job
--
-- Uses  ending returning
-- Builds  ready:, delayed, expiring, job:, spec:, stdin:, text:, output:, state:, intents:, events:, bell, kept, counters
-- Returns {"returned"}, {"finished", state} if it ended instead, {"done"} if it had been returned, or
-- {"fenced"}, also if the attempt was decided without its worker

local job = redis.call('HMGET', KEYS[2], 'token', 'lease', 'state', 'attempt', 'entry', 'priority', 'interrupt_by',
  'changed', 'decided')
local id, state = ARGV[1], job[3]
if job[9] == ARGV[2] then
  return { 'fenced' }
end
if job[1] == ARGV[2] and state == 'CREATED' and not job[2] then
  return { 'done' }
end
if job[1] ~= ARGV[2] or job[2] ~= ARGV[3] or not state or IS_FINAL[state] then
  return { 'fenced' }
end

local held = { state = state, attempt = job[4], entry = job[5], priority = job[6], lease = job[2], token = job[1] }
local at_ms = happened_ms(0, job[8])
begin_writing()
local returns = ARGV[6] == '' and 0 or redis.call('HINCRBY', KEYS[2], 'returns', 1)
if job[7] then
  end_job(id, held, { to = 'INTERRUPTED', at_ms = at_ms, cause = 'interrupted', by = job[7], keep_ms = tonumber(ARGV[7]),
    kept = 0 })
  return { 'finished', 'INTERRUPTED' }
end
if returns > 0 and returns >= tonumber(ARGV[6]) then
  add_text(id, 'error', 'it was claimed ' .. returns .. ' times, and each time its worker was lost before it began')
  end_job(id, held, { to = 'FAILED', at_ms = at_ms, cause = 'poison', by = ARGV[4], keep_ms = tonumber(ARGV[7]),
    kept = 0 })
  return { 'finished', 'FAILED' }
end
give_job_back(id, held, at_ms, ARGV[5], ARGV[4])
return { 'returned' }
