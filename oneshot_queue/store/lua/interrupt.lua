-- Interrupt a job. A waiting job ends at once; a running one gets an intent, which its worker carries out.
--
-- If the worker's lease is gone, no worker would do so: the job then ends at once as well, unconfirmed. The intent is
-- written before it is announced: a worker that missed the message reads the intent with its next renewal.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  job (hash)
-- ARGV[1]  job id
-- ARGV[2]  grace in ms, or '' for the job's own
-- ARGV[3]  name of the caller, for the history
-- ARGV[4]  reason, or ''
-- ARGV[5]  ms to keep an INTERRUPTED job
-- ARGV[6]  limit for finished jobs of this queue
-- ARGV[7]  limit for bytes of their output
--
-- Uses  ending
-- Builds  workers, ready:, delayed, expiring, job:, spec:, stdin:, text:, output:, state:, intents:, events:, kept,
-- counters, control
-- Returns {"ended", state, ended_ms, 1 or 0 if its processes may be alive}, {"recorded", state, worker},
-- {"final", state, ended_ms} if the job had ended, or {"missing"}

local state, attempt, entry, priority, lease, ended, interrupt, worker, changed, due,
  expires, bytes, dropped, token, interrupt_by, spec, stdin, output, log, created =
  unpack(redis.call('HMGET', KEYS[2],
    'state', 'attempt', 'entry', 'priority', 'lease', 'ended', 'interrupt', 'worker', 'changed', 'due',
    'expires', 'bytes', 'dropped', 'token', 'interrupt_by', 'spec', 'stdin', 'output', 'log', 'created'))
local id = ARGV[1]
if not state then
  return { 'missing' }
end
if not next_state(state, 'interrupt') then
  return { 'final', state, ended or '0' }
end

begin_writing()
local at_ms = happened_ms(0, changed or created)
if not interrupt then
  redis.call('HSET', KEYS[2], 'interrupt', format_int(at_ms), 'interrupt_by', ARGV[3])
  add_text(id, 'reason', ARGV[4])
end
if state == 'CREATED' or not is_live(lease or '') then
  local to = next_state(state, 'interrupt')
  if state ~= 'CREATED' then
    redis.call('HSET', KEYS[2], 'confirmed', '0', 'decided', token or '')
  end
  end_job(id, { state = state, attempt = attempt, entry = entry, priority = priority, lease = lease, due = due,
    expires = expires, spec = spec, stdin = stdin, output = output, log = log, created = created, worker = worker,
    token = token }, { to = to, at_ms = at_ms, cause = 'interrupted', by = interrupt_by or ARGV[3],
    keep_ms = tonumber(ARGV[5]), kept = (tonumber(bytes) or 0) - (tonumber(dropped) or 0) })
  prune_over_limits(tonumber(ARGV[6]), tonumber(ARGV[7]), MAX_REMOVALS, id)
  return { 'ended', to, format_int(at_ms), state == 'CREATED' and 1 or 0 }
end
redis.call('HSET', T .. ':intents:' .. lease, id, attempt .. ' ' .. (ARGV[2] == '' and '-' or ARGV[2]))
redis.call('PUBLISH', T .. ':control', id .. ' ' .. attempt)
announce(id, 'interrupting')
return { 'recorded', state, worker or '' }
