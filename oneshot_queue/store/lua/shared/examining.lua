-- What the doctor's scripts share: what they find a job to be, and how they tell of it.
--
-- Uses  judging

-- One row of a reply: what was found, of whom, more about it, and whether it is mended.
local function tell(reply, code, subject, detail, is_mended)
  reply[#reply + 1] = { code, subject, detail, is_mended and '1' or '0' }
end

-- 'gone', 'unreadable', or the job's state; and, of a job that can be read, what a verdict needs to know.
local function find_job(id)
  if redis.call('EXISTS', T .. ':job:' .. id) == 0 then
    return 'gone'
  end
  local job = held_job(id)
  if not job or not (IS_FINAL[job.state] or next_state(job.state, 'interrupt')) then
    return 'unreadable'
  end
  return job.state, job
end

-- See to it that a job stands in the index of its state: listings and sweepers come across it only there.
local function look_up(reply, id, job, mends)
  local index = T .. ':state:' .. job.state
  if not redis.call('ZSCORE', index, id) then
    if mends then
      redis.call('ZADD', index, digits(tonumber(job.changed) or now_ms()), id)
    end
    tell(reply, 'job-in-no-index', id, job.state, mends)
  end
end
