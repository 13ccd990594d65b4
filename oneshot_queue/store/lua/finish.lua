-- Write a job's final state, once. Called after the last process of the attempt is gone.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  job (hash)
-- ARGV[1]  job id
-- ARGV[2]  token
-- ARGV[3]  lease
-- ARGV[4]  event of the state machine: finish, fail or interrupt
-- ARGV[5]  cause
-- ARGV[6]  how long ago it ended, in ms
-- ARGV[7]  name of the worker, for the history
-- ARGV[8]  error text, or ''
-- ARGV[9]  all output as one packed string, or '' if there was none or it is in streams
-- ARGV[10] bytes of output that are kept
-- ARGV[11] ms to keep a COMPLETED job
-- ARGV[12] ms to keep a FAILED or INTERRUPTED job
-- ARGV[13] most finished jobs of this queue
-- ARGV[14] most bytes of output of all of them
-- ARGV[15...] field, value, ... to set
--
-- Uses  ending
-- Builds  ready:, job:, spec:, stdin:, text:, output:, state:, intents:, events:, kept, counters
-- Returns {"finished", state}, {"done", state} if it had been finished with this token, {"fenced"}, or {"refused", state}

local job = redis.call('HMGET', KEYS[2], 'token', 'lease', 'state', 'attempt', 'entry', 'priority', 'interrupt_by',
  'changed')
if (job[1] or '') ~= ARGV[2] or (job[2] or '') ~= ARGV[3] or not job[3] then
  return { 'fenced' }
end
local id, state = ARGV[1], job[3]
if IS_FINAL[state] then
  return { 'done', state }
end
local to = next_state(state, ARGV[4])
if not to or not IS_FINAL[to] then
  return { 'refused', state }
end

local keep_ms = tonumber(to == 'COMPLETED' and ARGV[11] or ARGV[12])
begin_writing()
if ARGV[9] ~= '' then
  local head = output_keys(id, job[4])
  redis.call('SET', head, ARGV[9])
end
if #ARGV >= 15 then
  redis.call('HSET', KEYS[2], unpack(ARGV, 15))
end
add_text(id, 'error', ARGV[8])
local by = ARGV[7]
if to == 'INTERRUPTED' and job[7] then
  by = job[7]
end
end_job(id, { state = state, attempt = job[4], entry = job[5], priority = job[6], lease = ARGV[3] },
  { to = to, at_ms = happened_ms(ARGV[6], job[8]), cause = ARGV[5], by = by, keep_ms = keep_ms, kept = tonumber(ARGV[10]) })
prune_beyond(tonumber(ARGV[13]), tonumber(ARGV[14]), MAX_REMOVALS, id)
return { 'finished', to }
