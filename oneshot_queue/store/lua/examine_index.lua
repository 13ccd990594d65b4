-- Check one page of a state's index and the jobs on it, and on request repair what is safe to repair.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, passed for routing only: see base.lua
-- ARGV[1]  state
-- ARGV[2]  rank of the first job
-- ARGV[3]  1 to repair, 0 to change nothing
-- ARGV[4]  ms to keep a finished job of this state
--
-- Uses  queueing ending waiting entries examining starting
-- Builds  workers, ready:, delayed, expiring, intents:, job:, spec:, stdin:, text:, output:, state:, bell, kept,
-- counters
-- Returns {"examined", number of jobs checked (100 if there may be more), number removed from the index, {code,
-- subject, detail, 1 if repaired else 0}...}

local state, start, repairs = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local index = T .. ':state:' .. state
local ids = redis.call('ZRANGE', index, start, start + 99)
local reply = { 'examined', #ids, 0 }
if repairs then
  -- Redis never denies this write, so the next ones succeed even when memory is full.
  redis.call('ZREM', index, '')
end

-- Check that a waiting job has an undelivered entry or is delayed.
local function examine_queueing(id, job, due)
  local delayed_until = redis.call('ZSCORE', T .. ':delayed', id)
  if delayed_until then
    if not due and not job.entry then
      if repairs then
        redis.call('HSET', T .. ':job:' .. id, 'due', delayed_until)
      end
      add_finding(reply, 'delayed-without-due', id, '', repairs)
    end
  elseif not job.entry and is_number(due, 15) then
    if repairs then
      wait_until_due(id, tonumber(due))
    end
    add_finding(reply, 'delay-forgotten', id, '', repairs)
  elseif not job.entry or not is_undelivered(T .. ':ready:' .. job.priority, job.entry) then
    if repairs then
      leave_queue(id, { entry = job.entry, priority = job.priority })
      join_queue(id, job.priority)
    end
    add_finding(reply, 'job-without-entry', id, '', repairs)
  end
end

local function examine_waiting(id, job)
  local due, expires = unpack(redis.call('HMGET', T .. ':job:' .. id, 'due', 'expires'))
  local can_be_read = has_readable_texts(id, job)
  if not can_be_read or #(job.spec or '') + redis.call('STRLEN', T .. ':spec:' .. id) == 0 then
    add_finding(reply, 'unreadable-job', id, 'its spec', false)
  end
  if can_be_read then -- otherwise a claim would quarantine a new entry
    examine_queueing(id, job, due)
  end
  local expiry = string.match(expires or '', '^%d+$')
  if expiry and #expiry <= 15 and not redis.call('ZSCORE', T .. ':expiring', id) then
    if repairs then
      redis.call('ZADD', T .. ':expiring', expiry, id)
    end
    add_finding(reply, 'expiry-forgotten', id, '', repairs)
  end
end

local function examine_running(id, job)
  if not job.lease or not is_live(job.lease) then
    add_finding(reply, 'running-without-lease', id, job.lease or '', false)
    return
  end
  local stream, entry = T .. ':ready:' .. job.priority, job.entry
  local is_there = entry and #redis.call('XRANGE', stream, entry, entry) > 0
  local pending = is_there and redis.pcall('XPENDING', stream, GROUP, entry, entry, 1, job.lease)
  if pending and not pending.err and #pending > 0 then
    return
  end
  if repairs then
    if not is_there then
      entry = redis.call('XADD', stream, '*', 'id', id)
      redis.call('HSET', T .. ':job:' .. id, 'entry', entry)
    end
    assign_entry(stream, entry, job.lease)
  end
  add_finding(reply, 'running-without-entry', id, job.lease, repairs)
end

local function examine_finished(id, job)
  local survivors, confirmed = unpack(redis.call('HMGET', T .. ':job:' .. id, 'survivors', 'confirmed'))
  if (tonumber(survivors or '') or 0) > 0 then
    add_finding(reply, 'survivors', id, survivors, false)
  end
  if confirmed == '0' then
    add_finding(reply, 'unconfirmed', id, '', false)
  end
  local without_expiry = {}
  for _, key in ipairs({ T .. ':job:' .. id, T .. ':spec:' .. id, T .. ':text:' .. id, T .. ':stdin:' .. id,
    output_keys(id, job.attempt) }) do
    if redis.call('PTTL', key) == -1 then
      without_expiry[#without_expiry + 1] = key
    end
  end
  if #without_expiry > 0 then
    for _, key in ipairs(repairs and without_expiry or {}) do
      redis.call('PEXPIRE', key, format_int(tonumber(ARGV[4]) + EXPIRY_SLACK_MS))
    end
    add_finding(reply, 'lasting-job', id, format_int(#without_expiry), repairs)
  end
end

for _, id in ipairs(ids) do
  local found, job = classify_job(id)
  if found == 'unreadable' then
    add_finding(reply, 'unreadable-job', id, 'its record', false)
  elseif found ~= state then
    if repairs then
      redis.call('ZREM', index, id)
      reply[3] = reply[3] + 1
      if found == 'gone' and IS_FINAL[state] then
        forget_kept_bytes(id)
      end
    end
    add_finding(reply, 'index-ghost', id, found, repairs)
    if job then
      check_index(reply, id, job, repairs)
    end
  elseif IS_FINAL[state] then
    examine_finished(id, job)
  elseif state == 'CREATED' then
    examine_waiting(id, job)
  else
    examine_running(id, job)
  end
end
return reply
