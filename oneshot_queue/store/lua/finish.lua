-- Record an attempt's result once, after its last process is gone.
--
-- The job enters its final state. If it asked for a retry and no interrupt is recorded, it becomes CREATED instead, for
-- its next attempt.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  job (hash)
-- ARGV[1]  job id
-- ARGV[2]  token
-- ARGV[3]  lease
-- ARGV[4]  event of the state machine: finish, fail or interrupt
-- ARGV[5]  cause
-- ARGV[6]  ms since the attempt ended
-- ARGV[7]  name of the worker, for the history
-- ARGV[8]  error text, or ''
-- ARGV[9]  all output as one packed string, or '' if there was none or it is in streams
-- ARGV[10] bytes of output that are kept
-- ARGV[11] ms to keep a COMPLETED job
-- ARGV[12] ms to keep a FAILED or INTERRUPTED job
-- ARGV[13] limit for finished jobs of this queue
-- ARGV[14] limit for bytes of their output
-- ARGV[15] ms until the next attempt may begin, or '' if this was the last
-- ARGV[16] how the attempt ended, for the history of a retried job
-- ARGV[17...] field, value, ... to set if the state is final
--
-- Uses  ending returning
-- Builds  ready:, delayed, expiring, job:, spec:, stdin:, text:, output:, state:, intents:, events:, bell, kept,
-- counters
-- Returns {"finished", state}, {"done", state} if an earlier call with this token recorded it, {"refused", state}, or
-- {"fenced"} if the attempt is not the job's current one, or was settled without its worker

local token, lease, state, attempt, entry, priority, interrupt_by, changed,
  due, expires, decided, spec, stdin, output, log, created, worker =
  unpack(redis.call('HMGET', KEYS[2],
    'token', 'lease', 'state', 'attempt', 'entry', 'priority', 'interrupt_by', 'changed',
    'due', 'expires', 'decided', 'spec', 'stdin', 'output', 'log', 'created', 'worker'))
local id = ARGV[1]
if decided == ARGV[2] then
  return { 'fenced' }
end
if token == ARGV[2] and state == 'CREATED' and not lease then
  return { 'done', state }
end
if IS_FINAL[state] and token == short_token(ARGV[2]) then
  return { 'done', state }
end
if (token or '') ~= ARGV[2] or (lease or '') ~= ARGV[3] or not state then
  return { 'fenced' }
end
local event, cause = ARGV[4], ARGV[5]
local is_retried = ARGV[15] ~= ''
if is_retried and interrupt_by then
  is_retried, event, cause = false, 'interrupt', 'interrupted'
end
local to = next_state(state, event)
if not to or not IS_FINAL[to] then
  return { 'refused', state }
end

local keep_ms, kept = tonumber(to == 'COMPLETED' and ARGV[11] or ARGV[12]), tonumber(ARGV[10])
local at_ms, by = happened_ms(ARGV[6], changed), ARGV[7]
local job = { state = state, attempt = attempt, entry = entry, priority = priority, lease = lease, due = due,
  expires = expires, spec = spec, stdin = stdin, output = output, log = log, created = created, worker = worker,
  token = token, interrupt_by = interrupt_by }
begin_writing()
local fields = { unpack(ARGV, 17) }
if ARGV[9] ~= '' and #ARGV[9] <= MAX_FIELD_BYTES and not is_retried then
  job.output, kept = false, 0
  fields[#fields + 1], fields[#fields + 2] = 'written', ARGV[9]
elseif ARGV[9] ~= '' then
  local head = output_keys(id, attempt)
  redis.call('SET', head, ARGV[9])
  fields[#fields + 1], fields[#fields + 2], job.output = 'output', 'inline', 'inline'
end
if is_retried then
  job.interrupt_by = nil
  retry_job(id, job, at_ms, tonumber(ARGV[15]), { cause = cause, by = by, detail = ARGV[16], kept = kept })
  return { 'finished', 'CREATED' }
end
if to == 'INTERRUPTED' and interrupt_by then
  by = interrupt_by
end
end_job(id, job, { to = to, at_ms = at_ms, cause = cause, by = by, keep_ms = keep_ms, kept = kept, error = ARGV[8],
  fields = fields })
prune_over_limits(tonumber(ARGV[13]), tonumber(ARGV[14]), MAX_REMOVALS, id)
return { 'finished', to }
