-- What those scripts share that examine what there is: what they find a job to be, and how the doctor's tell of it.
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

-- Let a job stand in the index of its state: listings and sweepers come across it only there.
local function list(id, job)
  redis.call('ZADD', T .. ':state:' .. job.state, 'NX', digits(tonumber(job.changed) or now_ms()), id)
end

-- See to it that a job stands in the index of its state.
local function look_up(reply, id, job, mends)
  if not redis.call('ZSCORE', T .. ':state:' .. job.state, id) then
    if mends then
      list(id, job)
    end
    tell(reply, 'job-in-no-index', id, job.state, mends)
  end
end
