-- Look through a part of an index for jobs that nobody would ever come back to, and mend what is beyond doubt.
--
-- A waiting job whose entry is gone, or was handed to somebody who does not hold the job, gets a new one. Ids whose job is
-- gone, or in another state, leave the index. Running jobs whose lease is not registered are reported: whoever has seen
-- them so for the length of a lease decides them.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, only named: see base.lua
-- ARGV[1]  state whose index it is: CREATED, RUNNING or IDLE
-- ARGV[2]  where to begin
--
-- Uses  placing judging waiting
-- Builds  workers, ready:, delayed, expiring, intents:, job:, text:, state:, bell
-- Returns {"audited", how many were looked at (100 if there may be more), how many mended, id, lease, ...}

local state, start = ARGV[1], tonumber(ARGV[2])
local index = T .. ':state:' .. state
local ids = redis.call('ZRANGE', index, start, start + 99)
local reply = { 'audited', #ids, 0 }
local mended = 0
redis.call('ZREM', index, '') -- a write that passes when memory is full, so that the next ones do

for _, id in ipairs(ids) do
  local job = held_job(id)
  if not job or job.state ~= state then
    redis.call('ZREM', index, id)
    mended = mended + 1
  elseif state ~= 'CREATED' then
    if not job.lease or not is_live(job.lease) then
      reply[#reply + 1] = id
      reply[#reply + 1] = job.lease or ''
    end
  elseif not redis.call('ZSCORE', T .. ':delayed', id) then
    if not job.entry or not waits(T .. ':ready:' .. job.priority, job.entry) then
      step_out(id, { entry = job.entry, priority = job.priority })
      line_up(id, job.priority)
      mended = mended + 1
    end
  end
end
reply[3] = mended
return reply
