-- Functions that the doctor's scripts and audit share: classify a job, report a finding, repair a state index.
--
-- Uses  recovering

-- Add a row to a reply: what was found, which job, entry or lease it concerns, a detail, and whether it was repaired.
local function add_finding(reply, code, subject, detail, is_repaired)
  reply[#reply + 1] = { code, subject, detail, is_repaired and '1' or '0' }
end

-- Returns 'gone', 'unreadable' or the job's state. For a readable job, also returns its table from read_job_to_settle.
local function classify_job(id)
  if redis.call('EXISTS', T .. ':job:' .. id) == 0 then
    return 'gone'
  end
  local job = read_job_to_settle(id)
  if not job or not (IS_FINAL[job.state] or next_state(job.state, 'interrupt')) then
    return 'unreadable'
  end
  return job.state, job
end

-- Add a job to the index of its state. Listings and sweepers find jobs only there.
local function add_to_index(id, job)
  redis.call('ZADD', T .. ':state:' .. job.state, 'NX', format_int(tonumber(job.changed) or now_ms()), id)
end

-- Report a job that is missing from the index of its state, and add it if `repairs` is true.
local function check_index(reply, id, job, repairs)
  if not redis.call('ZSCORE', T .. ':state:' .. job.state, id) then
    if repairs then
      add_to_index(id, job)
    end
    add_finding(reply, 'job-in-no-index', id, job.state, repairs)
  end
end
