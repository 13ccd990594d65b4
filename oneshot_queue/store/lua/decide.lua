-- Decide one job whose lease is not registered, as sweep would have.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  job (hash)
-- ARGV[1]  job id
-- ARGV[2]  the lease under which it was seen all the time, '' if none
-- ARGV[3]  name of the worker that decides, for the history
-- ARGV[4]  what happened, for people
-- ARGV[5]  where in [0.5, 1] of a retry's full delay to land
-- ARGV[6]  ms to keep a FAILED or INTERRUPTED job
--
-- Uses  judging
-- Builds  workers, ready:, delayed, expiring, job:, spec:, stdin:, text:, output:, state:, intents:, events:, bell, kept,
-- counters
-- Returns {"decided"} or {"spared"}

local job = held_job(ARGV[1])
local is_lost = job and (job.state == 'RUNNING' or job.state == 'IDLE') and (job.lease or '') == ARGV[2]
    and not is_live(ARGV[2])
if not is_lost then
  return { 'spared' }
end
begin_writing()
decide_lost(ARGV[1], job, { by = ARGV[3], error = ARGV[4], spread = tonumber(ARGV[5]), confirmed = '0',
  keep_ms = tonumber(ARGV[6]) })
return { 'decided' }
