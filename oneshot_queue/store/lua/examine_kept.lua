-- Examine rows of `kept`: whether each belongs to a finished job. On request, those of no job go, out of the sum too.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, only named: see base.lua
-- ARGV[1]  1 to mend, 0 to change nothing
-- ARGV[2...]  ids of jobs
--
-- Uses  ending examining
-- Builds  job:, text:, state:, kept, counters
-- Returns {"examined", how many were looked at, how many left, {code, subject, detail, 1 if mended else 0}...}

local mends = ARGV[1] == '1'
local reply = { 'examined', #ARGV - 1, 0 }
for i = 2, #ARGV do
  local id, is_listed = ARGV[i], false
  for _, final in ipairs(FINAL) do
    is_listed = is_listed or redis.call('ZSCORE', T .. ':state:' .. final, id)
  end
  local found, job = find_job(id)
  if found == 'gone' and not is_listed then
    if mends then
      forget_kept(id)
      reply[3] = reply[3] + 1
    end
    tell(reply, 'kept-ghost', id, '', mends)
  elseif job then
    look_up(reply, id, job, mends)
  end
end
return reply
