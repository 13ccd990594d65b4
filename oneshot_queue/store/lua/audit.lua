-- Check one page of a state's index for jobs that no worker would ever find, and repair what is safe to repair.
--
-- A waiting job gets a new entry if its entry is gone, or was delivered to a consumer that does not hold the job. If it
-- has a due time and no entry, it is delayed again. Ids of missing jobs leave the index, and jobs in another state move
-- to that state's index. Unreadable jobs are left to the doctor. Running jobs without a registered lease are reported;
-- a worker settles one that it has seen without a lease for the length of a lease.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, passed for routing only: see base.lua
-- ARGV[1]  state of the index: CREATED, RUNNING or IDLE
-- ARGV[2]  rank of the first job
--
-- Uses  queueing waiting examining starting
-- Builds  workers, ready:, delayed, expiring, intents:, job:, spec:, stdin:, text:, state:, bell
-- Returns {"audited", number of jobs checked (100 if there may be more), number repaired, id, lease, ...}

local state, start = ARGV[1], tonumber(ARGV[2])
local index = T .. ':state:' .. state
local ids = redis.call('ZRANGE', index, start, start + 99)
local reply = { 'audited', #ids, 0 }
local repaired = 0
-- Redis never denies this write, so the next ones succeed even when memory is full.
redis.call('ZREM', index, '')

-- Make sure that a waiting job has an undelivered entry or is delayed.
local function repair_queueing(id, job)
  if redis.call('ZSCORE', T .. ':delayed', id)
      or (job.entry and is_undelivered(T .. ':ready:' .. job.priority, job.entry)) then
    return
  end
  local due = redis.call('HGET', T .. ':job:' .. id, 'due')
  if not job.entry and is_number(due, 15) then
    wait_until_due(id, tonumber(due))
  elseif has_readable_texts(id, job) then -- otherwise a claim would quarantine the new entry
    leave_queue(id, { entry = job.entry, priority = job.priority })
    join_queue(id, job.priority)
  else
    return
  end
  repaired = repaired + 1
end

for _, id in ipairs(ids) do
  local found, job = classify_job(id)
  if found == 'gone' or (job and found ~= state) then
    redis.call('ZREM', index, id)
    repaired = repaired + 1
    if job then
      add_to_index(id, job)
    end
  elseif job and state == 'CREATED' then
    repair_queueing(id, job)
  elseif job and (not job.lease or not is_live(job.lease)) then
    reply[#reply + 1] = id
    reply[#reply + 1] = job.lease or ''
  end
end
reply[3] = repaired
return reply
