-- Settle the jobs of a lease whose worker is gone, at most 100 a call, fewer if they had many attempts.
--
-- The first call condemns the lease by setting its end to 0; from then on its worker's calls answer "lost". The call
-- that finds no entry left removes the lease.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers (sorted set: lease -> end of lease in ms)
-- KEYS[3]  intents of the lease
-- ARGV[1]  the lease to sweep
-- ARGV[2]  its end, as it was seen throughout; '' to condemn it whatever its end is
-- ARGV[3]  name of the worker that sweeps, for the history
-- ARGV[4]  error text for users
-- ARGV[5]  fraction of a retry's full delay to wait, in [0.5, 1]
-- ARGV[6]  1 if the processes of its jobs are known to be gone, else 0
-- ARGV[7]  ms to keep a FAILED or INTERRUPTED job
--
-- Uses  queueing recovering entries sweeping
-- Builds  ready:, delayed, expiring, job:, spec:, stdin:, text:, output:, state:, intents:, events:, bell, kept,
-- counters, terms, sweeper
-- Returns {"swept", number of jobs settled, 1 if entries may be left else 0}, {"alive"} or {"gone"}

local lease = ARGV[1]
local ends = redis.call('ZSCORE', KEYS[2], lease)
if not ends then
  return { 'gone' }
end
if tonumber(ends) > 0 and ARGV[2] ~= '' and ends ~= ARGV[2] then
  return { 'alive' }
end
-- Redis never denies this write, so the next ones succeed even when memory is full.
redis.call('ZREM', KEYS[2], '')
redis.call('ZADD', KEYS[2], 'XX', 0, lease)

local settlement = { by = ARGV[3], error = ARGV[4], spread = tonumber(ARGV[5]), confirmed = ARGV[6],
  keep_ms = tonumber(ARGV[7]) }

-- Settle the job of an entry that is pending for the lease. Returns false if the entry needed something else.
local function settle_entry(stream, priority, entry)
  local row = redis.call('XRANGE', stream, entry, entry)[1]
  local id = row and job_id_of(row[2])
  local job = id and read_job_to_settle(id)
  if not job or job.entry ~= entry or job.priority ~= priority or IS_FINAL[job.state] then
    delete_entry(stream, entry)
  elseif job.state == 'CREATED' or not job.lease then
    -- The claim failed half-way, or the server lost it.
    leave_queue(id, { entry = entry, priority = priority })
    join_queue(id, priority)
  elseif job.lease == lease then
    settle_lost_job(id, job, settlement)
    return true
  else
    redis.call('XCLAIM', stream, GROUP, job.lease, 0, entry, 'JUSTID')
  end
  return false
end

local settled, checked = 0, 0
for _, priority in ipairs(PRIORITIES) do
  local stream = T .. ':ready:' .. priority
  local pending = redis.pcall('XPENDING', stream, GROUP, '-', '+', 100 - checked + 1, lease)
  for _, row in ipairs(pending.err and {} or pending) do
    if checked >= 100 or visited_outputs >= MAX_OUTPUTS then
      return { 'swept', settled, 1 }
    end
    checked = checked + 1
    if settle_entry(stream, priority, row[1]) then
      settled = settled + 1
    end
  end
end
for _, priority in ipairs(PRIORITIES) do
  redis.pcall('XGROUP', 'DELCONSUMER', T .. ':ready:' .. priority, GROUP, lease)
end
redis.call('ZREM', KEYS[2], lease)
redis.call('DEL', KEYS[3])
redis.call('HDEL', T .. ':terms', lease)
release_sweeper(lease)
return { 'swept', settled, 0 }
