-- Check that each entry on one page of a ready stream belongs to a job, and on request remove those that do not.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, passed for routing only: see base.lua
-- ARGV[1]  priority
-- ARGV[2]  where the page starts: '-', or '(' and the last entry of the page before
-- ARGV[3]  1 to repair, 0 to change nothing
--
-- Uses  entries examining
-- Builds  ready:, job:, text:, state:, quarantine, counters
-- Returns {"examined", number of entries checked (100 if there may be more), the last of them, {code, subject, detail,
-- 1 if repaired else 0}...}

local stream, repairs = T .. ':ready:' .. ARGV[1], ARGV[3] == '1'
local entries = redis.call('XRANGE', stream, ARGV[2], '+', 'COUNT', 100)
local reply = { 'examined', #entries, #entries > 0 and entries[#entries][1] or '' }
if repairs then
  -- Redis never denies this write, so the next ones succeed even when memory is full.
  redis.call('XACK', stream, GROUP, '0-0')
end
for _, row in ipairs(entries) do
  local entry, id = row[1], job_id_of(row[2])
  local found, job = 'stray'
  if id then
    found, job = classify_job(id)
  end
  if found == 'stray' then
    if repairs then
      quarantine_entry(stream, entry, row[2])
    end
    add_finding(reply, 'stray-entry', entry, ARGV[1], repairs)
  elseif found == 'unreadable' then
    add_finding(reply, 'unreadable-job', id, 'its record', false)
  elseif found == 'gone' or IS_FINAL[found] or job.entry ~= entry or job.priority ~= ARGV[1] then
    if repairs then
      delete_entry(stream, entry)
    end
    add_finding(reply, found == 'gone' and 'entry-without-job' or 'entry-too-many', id, entry, repairs)
  end
  if job then
    check_index(reply, id, job, repairs)
  end
end
return reply
