-- Settle one job whose lease is not registered, as sweep would have done.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  job (hash)
-- ARGV[1]  job id
-- ARGV[2]  the lease under which the job was seen throughout, or '' if it had none
-- ARGV[3]  name of the worker that settles the job, for the history
-- ARGV[4]  error text for users
-- ARGV[5]  fraction of a retry's full delay to wait, in [0.5, 1]
-- ARGV[6]  ms to keep a FAILED or INTERRUPTED job
--
-- Uses  recovering
-- Builds  workers, ready:, delayed, expiring, job:, spec:, stdin:, text:, output:, state:, intents:, events:, bell,
-- kept, counters
-- Returns {"settled"}, or {"unchanged"} if the job has ended, has another lease, or its lease is registered

local job = read_job_to_settle(ARGV[1])
local is_lost = job and (job.state == 'RUNNING' or job.state == 'IDLE') and (job.lease or '') == ARGV[2]
    and not is_live(ARGV[2])
if not is_lost then
  return { 'unchanged' }
end
begin_writing()
settle_lost_job(ARGV[1], job, { by = ARGV[3], error = ARGV[4], spread = tonumber(ARGV[5]), confirmed = '0',
  keep_ms = tonumber(ARGV[6]) })
return { 'settled' }
