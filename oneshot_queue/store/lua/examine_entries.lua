-- Examine a part of a ready stream: whether each entry leads to a job. On request, those that lead nowhere go.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, only named: see base.lua
-- ARGV[1]  priority
-- ARGV[2]  the first entry: '-', or '(' and the last one of the part before
-- ARGV[3]  1 to mend, 0 to change nothing
--
-- Uses  entries examining
-- Builds  ready:, job:, text:, state:, quarantine, counters
-- Returns {"examined", how many were looked at (100 if there may be more), the last of them, {code, subject, detail, 1 if
-- mended else 0}...}

local stream, mends = T .. ':ready:' .. ARGV[1], ARGV[3] == '1'
local entries = redis.call('XRANGE', stream, ARGV[2], '+', 'COUNT', 100)
local reply = { 'examined', #entries, #entries > 0 and entries[#entries][1] or '' }
if mends then
  redis.call('XACK', stream, GROUP, '0-0') -- a write that passes when memory is full, so that the next ones do
end
for _, row in ipairs(entries) do
  local entry, id = row[1], id_of(row[2])
  local found, job = 'stray'
  if id then
    found, job = find_job(id)
  end
  if found == 'stray' then
    if mends then
      set_aside(stream, entry, row[2])
    end
    tell(reply, 'stray-entry', entry, ARGV[1], mends)
  elseif found == 'unreadable' then
    tell(reply, 'unreadable-job', id, 'its record', false)
  elseif found == 'gone' or IS_FINAL[found] or job.entry ~= entry or job.priority ~= ARGV[1] then
    if mends then
      forget_entry(stream, entry)
    end
    tell(reply, found == 'gone' and 'entry-without-job' or 'entry-too-many', id, entry, mends)
  end
  if job then
    look_up(reply, id, job, mends)
  end
end
return reply
