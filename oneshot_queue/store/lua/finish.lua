-- Write an attempt's end, once. Called after its last process is gone. The job's state becomes final; or, where it asked
-- for that and no interrupt is on record, CREATED, for its next attempt.
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
-- ARGV[15] ms until the next attempt may begin, or '' if this was the last
-- ARGV[16] how the attempt ended, for the history of a job that goes on
-- ARGV[17...] field, value, ... to set if the state is final
--
-- Uses  ending returning
-- Builds  ready:, delayed, expiring, job:, spec:, stdin:, text:, output:, state:, intents:, events:, bell, kept, counters
-- Returns {"finished", state}, {"done", state} if it had been with this token, {"fenced"}, also if the attempt was
-- decided without its worker, or {"refused", state}

local job = redis.call('HMGET', KEYS[2], 'token', 'lease', 'state', 'attempt', 'entry', 'priority', 'interrupt_by',
  'changed', 'due', 'expires', 'decided', 'spec', 'stdin', 'output', 'log', 'created', 'worker')
local id, state = ARGV[1], job[3]
if job[11] == ARGV[2] then
  return { 'fenced' }
end
if job[1] == ARGV[2] and state == 'CREATED' and not job[2] then
  return { 'done', state }
end
if IS_FINAL[state] and job[1] == short_token(ARGV[2]) then
  return { 'done', state }
end
if (job[1] or '') ~= ARGV[2] or (job[2] or '') ~= ARGV[3] or not state then
  return { 'fenced' }
end
local event, cause = ARGV[4], ARGV[5]
local begins_again = ARGV[15] ~= ''
if begins_again and job[7] then
  begins_again, event, cause = false, 'interrupt', 'interrupted'
end
local to = next_state(state, event)
if not to or not IS_FINAL[to] then
  return { 'refused', state }
end

local keep_ms, kept = tonumber(to == 'COMPLETED' and ARGV[11] or ARGV[12]), tonumber(ARGV[10])
local at_ms, by = happened_ms(ARGV[6], job[8]), ARGV[7]
local held = { state = state, attempt = job[4], entry = job[5], priority = job[6], lease = job[2],
  due = job[9], expires = job[10], spec = job[12], stdin = job[13], output = job[14], log = job[15], created = job[16],
  worker = job[17], token = job[1], interrupt_by = job[7] }
begin_writing()
local fields = { unpack(ARGV, 17) }
if ARGV[9] ~= '' and #ARGV[9] <= MOST_FIELD and not begins_again then
  held.output, kept = false, 0
  fields[#fields + 1], fields[#fields + 2] = 'written', ARGV[9]
elseif ARGV[9] ~= '' then
  local head = output_keys(id, job[4])
  redis.call('SET', head, ARGV[9])
  fields[#fields + 1], fields[#fields + 2], held.output = 'output', 'inline', 'inline'
end
if begins_again then
  held.interrupt_by = nil
  retry_job(id, held, at_ms, tonumber(ARGV[15]), { cause = cause, by = by, detail = ARGV[16], kept = kept })
  return { 'finished', 'CREATED' }
end
if to == 'INTERRUPTED' and job[7] then
  by = job[7]
end
end_job(id, held, { to = to, at_ms = at_ms, cause = cause, by = by, keep_ms = keep_ms, kept = kept, error = ARGV[8],
  fields = fields })
prune_beyond(tonumber(ARGV[13]), tonumber(ARGV[14]), MAX_REMOVALS, id)
return { 'finished', to }
