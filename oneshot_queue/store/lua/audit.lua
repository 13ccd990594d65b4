-- Look through a part of an index for jobs that nobody would ever come back to, and mend what is beyond doubt.
--
-- A waiting job whose entry is gone, or was handed to somebody who does not hold the job, gets a new one, or waits until
-- it is due. Ids whose job is gone, or in another state, leave the index; the second kind goes to the index of that state.
-- What cannot be read is left to the doctor. Running jobs whose lease is not registered are reported: whoever has seen
-- them so for the length of a lease decides them.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, only named: see base.lua
-- ARGV[1]  state whose index it is: CREATED, RUNNING or IDLE
-- ARGV[2]  where to begin
--
-- Uses  placing waiting examining starting
-- Builds  workers, ready:, delayed, expiring, intents:, job:, spec:, stdin:, text:, state:, bell
-- Returns {"audited", how many were looked at (100 if there may be more), how many mended, id, lease, ...}

local state, start = ARGV[1], tonumber(ARGV[2])
local index = T .. ':state:' .. state
local ids = redis.call('ZRANGE', index, start, start + 99)
local reply = { 'audited', #ids, 0 }
local mended = 0
redis.call('ZREM', index, '') -- a write that passes when memory is full, so that the next ones do

local function mend_place(id, job)
  if redis.call('ZSCORE', T .. ':delayed', id) or (job.entry and waits(T .. ':ready:' .. job.priority, job.entry)) then
    return
  end
  local due = redis.call('HGET', T .. ':job:' .. id, 'due')
  if not job.entry and is_number(due, 15) then
    wait_until_due(id, tonumber(due))
  elseif has_texts(id, job) then -- without them a claim would set its entry aside again
    step_out(id, { entry = job.entry, priority = job.priority })
    line_up(id, job.priority)
  else
    return
  end
  mended = mended + 1
end

for _, id in ipairs(ids) do
  local found, job = find_job(id)
  if found == 'gone' or (job and found ~= state) then
    redis.call('ZREM', index, id)
    mended = mended + 1
    if job then
      list(id, job)
    end
  elseif job and state == 'CREATED' then
    mend_place(id, job)
  elseif job and (not job.lease or not is_live(job.lease)) then
    reply[#reply + 1] = id
    reply[#reply + 1] = job.lease or ''
  end
end
reply[3] = mended
return reply
