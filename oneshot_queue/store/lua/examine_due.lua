-- Check one page of the delayed set or the expiring set, and on request repair what is safe to repair.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, passed for routing only: see base.lua
-- ARGV[1]  delayed or expiring
-- ARGV[2]  rank of the first job
-- ARGV[3]  1 to repair, 0 to change nothing
--
-- Uses  examining
-- Builds  delayed, expiring, job:, text:, state:
-- Returns {"examined", number of jobs checked (100 if there may be more), number removed from the set, {code, subject,
-- detail, 1 if repaired else 0}...}

local key = ARGV[1] == 'delayed' and T .. ':delayed' or T .. ':expiring'
local start, repairs = tonumber(ARGV[2]), ARGV[3] == '1'
local ids = redis.call('ZRANGE', key, start, start + 99)
local reply = { 'examined', #ids, 0 }
if repairs then
  -- Redis never denies this write, so the next ones succeed even when memory is full.
  redis.call('ZREM', key, '')
end
for _, id in ipairs(ids) do
  local found, job = classify_job(id)
  if found == 'unreadable' then
    add_finding(reply, 'unreadable-job', id, 'its record', false)
  elseif found ~= 'CREATED' then
    if repairs then
      redis.call('ZREM', key, id)
      reply[3] = reply[3] + 1
    end
    add_finding(reply, ARGV[1] .. '-ghost', id, found, repairs)
  end
  if job then
    check_index(reply, id, job, repairs)
  end
end
return reply
