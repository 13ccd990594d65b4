-- Examine a part of what the clock watches: jobs that are not due yet, or that end if nobody starts them in time.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, only named: see base.lua
-- ARGV[1]  delayed or expiring
-- ARGV[2]  where to begin
-- ARGV[3]  1 to mend, 0 to change nothing
--
-- Uses  examining
-- Builds  delayed, expiring, job:, text:, state:
-- Returns {"examined", how many were looked at (100 if there may be more), how many left, {code, subject, detail, 1 if
-- mended else 0}...}

local key = ARGV[1] == 'delayed' and T .. ':delayed' or T .. ':expiring'
local start, mends = tonumber(ARGV[2]), ARGV[3] == '1'
local ids = redis.call('ZRANGE', key, start, start + 99)
local reply = { 'examined', #ids, 0 }
if mends then
  redis.call('ZREM', key, '') -- a write that passes when memory is full, so that the next ones do
end
for _, id in ipairs(ids) do
  local found, job = find_job(id)
  if found == 'unreadable' then
    tell(reply, 'unreadable-job', id, 'its record', false)
  elseif found ~= 'CREATED' then
    if mends then
      redis.call('ZREM', key, id)
      reply[3] = reply[3] + 1
    end
    tell(reply, ARGV[1] .. '-ghost', id, found, mends)
  end
  if job then
    look_up(reply, id, job, mends)
  end
end
return reply
