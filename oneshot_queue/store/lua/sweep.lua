-- Decide the jobs of a lease whose worker is gone, at most 100 a call, fewer if they had very many attempts; the call that
-- finds none left removes the lease.
--
-- The first call condemns it: its end becomes 0, so that whoever held it is told "lost" from then on.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers (sorted set: lease -> end of lease in ms)
-- KEYS[3]  intents of the lease
-- ARGV[1]  the lease to decide
-- ARGV[2]  its end, as it was seen all the time; '' to condemn it whatever its end is
-- ARGV[3]  name of the worker that decides, for the history
-- ARGV[4]  what happened, for people
-- ARGV[5]  where in [0.5, 1] of a retry's full delay to land
-- ARGV[6]  1 if the processes of its jobs are known to be gone, else 0
-- ARGV[7]  ms to keep a FAILED or INTERRUPTED job
--
-- Uses  placing judging entries leaving
-- Builds  ready:, delayed, expiring, job:, spec:, stdin:, text:, output:, state:, intents:, events:, bell, kept, counters,
-- terms, sweeper
-- Returns {"swept", how many jobs were decided, how many entries may be left: 0 or 1}, {"alive"} or {"gone"}

local lease = ARGV[1]
local ends = redis.call('ZSCORE', KEYS[2], lease)
if not ends then
  return { 'gone' }
end
if tonumber(ends) > 0 and ARGV[2] ~= '' and ends ~= ARGV[2] then
  return { 'alive' }
end
redis.call('ZREM', KEYS[2], '') -- a write that passes when memory is full, so that the next ones do
redis.call('ZADD', KEYS[2], 'XX', 0, lease)

local verdict = { by = ARGV[3], error = ARGV[4], spread = tonumber(ARGV[5]), confirmed = ARGV[6],
  keep_ms = tonumber(ARGV[7]) }

-- Returns whether a job was decided by it.
local function decide_entry(stream, priority, entry)
  local row = redis.call('XRANGE', stream, entry, entry)[1]
  local id = row and id_of(row[2])
  local job = id and held_job(id)
  if not job or job.entry ~= entry or job.priority ~= priority or IS_FINAL[job.state] then
    forget_entry(stream, entry)
  elseif job.state == 'CREATED' or not job.lease then
    -- A claim that failed half-way, or one that the server forgot.
    step_out(id, { entry = entry, priority = priority })
    line_up(id, priority)
  elseif job.lease == lease then
    decide_lost(id, job, verdict)
    return true
  else
    redis.call('XCLAIM', stream, GROUP, job.lease, 0, entry, 'JUSTID')
  end
  return false
end

local decided, looked = 0, 0
for _, priority in ipairs(PRIORITIES) do
  local stream = T .. ':ready:' .. priority
  local pending = redis.pcall('XPENDING', stream, GROUP, '-', '+', 100 - looked + 1, lease)
  for _, row in ipairs(pending.err and {} or pending) do
    if looked >= 100 or outputs >= MAX_OUTPUTS then
      return { 'swept', decided, 1 }
    end
    looked = looked + 1
    if decide_entry(stream, priority, row[1]) then
      decided = decided + 1
    end
  end
end
for _, priority in ipairs(PRIORITIES) do
  redis.pcall('XGROUP', 'DELCONSUMER', T .. ':ready:' .. priority, GROUP, lease)
end
redis.call('ZREM', KEYS[2], lease)
redis.call('DEL', KEYS[3])
redis.call('HDEL', T .. ':terms', lease)
end_sweeping(lease)
return { 'swept', decided, 0 }
