-- Check that given rows of `kept` belong to finished jobs, and on request remove those of missing jobs, from the total
-- too.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, passed for routing only: see base.lua
-- ARGV[1]  1 to repair, 0 to change nothing
-- ARGV[2...]  job ids
--
-- Uses  ending examining
-- Builds  job:, text:, state:, kept, counters
-- Returns {"examined", number of rows checked, number removed, {code, subject, detail, 1 if repaired else 0}...}

local repairs = ARGV[1] == '1'
local reply = { 'examined', #ARGV - 1, 0 }
for i = 2, #ARGV do
  local id, is_indexed = ARGV[i], false
  for _, final in ipairs(FINAL) do
    is_indexed = is_indexed or redis.call('ZSCORE', T .. ':state:' .. final, id)
  end
  local found, job = classify_job(id)
  if found == 'gone' and not is_indexed then
    if repairs then
      forget_kept_bytes(id)
      reply[3] = reply[3] + 1
    end
    add_finding(reply, 'kept-ghost', id, '', repairs)
  elseif job then
    check_index(reply, id, job, repairs)
  end
end
return reply
