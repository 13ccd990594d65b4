-- Ask for the end of a job. One that waits ends here and now; one that runs gets an intent, which its worker carries out.
-- Where its worker's lease is gone, nobody would: then it ends here as well, unconfirmed.
--
-- The intent is written first and announced second: a worker that missed the announcement reads it with its next renewal.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  job (hash)
-- ARGV[1]  job id
-- ARGV[2]  grace in ms, or '' for the job's own
-- ARGV[3]  who asks, for the history
-- ARGV[4]  reason, or ''
-- ARGV[5]  ms to keep an INTERRUPTED job
-- ARGV[6]  most finished jobs of this queue
-- ARGV[7]  most bytes of output of all of them
--
-- Uses  ending
-- Builds  workers, ready:, delayed, expiring, job:, spec:, stdin:, text:, output:, state:, intents:, events:, kept, counters, control
-- Returns {"ended", state, ended_ms, 1 or 0 if its processes may live}, {"recorded", state, worker}, {"final", state, ended_ms} or {"missing"}

local id = ARGV[1]
local job = redis.call('HMGET', KEYS[2], 'state', 'attempt', 'entry', 'priority', 'lease', 'ended', 'interrupt', 'worker',
  'changed', 'due', 'expires', 'bytes', 'dropped', 'token', 'interrupt_by', 'spec', 'stdin', 'output', 'log', 'created')
local state = job[1]
if not state then
  return { 'missing' }
end
if not next_state(state, 'interrupt') then
  return { 'final', state, job[6] or '0' }
end

begin_writing()
local at_ms = happened_ms(0, job[9] or job[20])
if not job[7] then
  redis.call('HSET', KEYS[2], 'interrupt', digits(at_ms), 'interrupt_by', ARGV[3])
  add_text(id, 'reason', ARGV[4])
end
if state == 'CREATED' or not is_live(job[5] or '') then
  local to = next_state(state, 'interrupt')
  if state ~= 'CREATED' then
    redis.call('HSET', KEYS[2], 'confirmed', '0', 'decided', job[14] or '')
  end
  end_job(id, { state = state, attempt = job[2], entry = job[3], priority = job[4], lease = job[5], due = job[10],
    expires = job[11], spec = job[16], stdin = job[17], output = job[18], log = job[19], created = job[20],
    worker = job[8], token = job[14] }, { to = to, at_ms = at_ms, cause = 'interrupted', by = job[15] or ARGV[3],
    keep_ms = tonumber(ARGV[5]), kept = (tonumber(job[12]) or 0) - (tonumber(job[13]) or 0) })
  prune_beyond(tonumber(ARGV[6]), tonumber(ARGV[7]), MAX_REMOVALS, id)
  return { 'ended', to, digits(at_ms), state == 'CREATED' and 1 or 0 }
end
redis.call('HSET', T .. ':intents:' .. job[5], id, job[2] .. ' ' .. (ARGV[2] == '' and '-' or ARGV[2]))
redis.call('PUBLISH', T .. ':control', id .. ' ' .. job[2])
announce(id, 'interrupting')
return { 'recorded', state, job[8] or '' }
