-- Examine a part of the index of a state, and the jobs in it; on request, mend what is beyond doubt.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, only named: see base.lua
-- ARGV[1]  state
-- ARGV[2]  where to begin
-- ARGV[3]  1 to mend, 0 to change nothing
-- ARGV[4]  ms to keep a finished job of this state
--
-- Uses  placing ending waiting entries examining starting
-- Builds  workers, ready:, delayed, expiring, intents:, job:, spec:, stdin:, text:, output:, state:, bell, kept, counters
-- Returns {"examined", how many were looked at (100 if there may be more), how many left the index, {code, subject,
-- detail, 1 if mended else 0}...}

local state, start, mends = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local index = T .. ':state:' .. state
local ids = redis.call('ZRANGE', index, start, start + 99)
local reply = { 'examined', #ids, 0 }
if mends then
  redis.call('ZREM', index, '') -- a write that passes when memory is full, so that the next ones do
end

local function examine_place(id, job, due)
  local is_delayed = redis.call('ZSCORE', T .. ':delayed', id)
  if is_delayed then
    if not due and not job.entry then
      if mends then
        redis.call('HSET', T .. ':job:' .. id, 'due', is_delayed)
      end
      tell(reply, 'delayed-without-due', id, '', mends)
    end
  elseif not job.entry and is_number(due, 15) then
    if mends then
      wait_until_due(id, tonumber(due))
    end
    tell(reply, 'delay-forgotten', id, '', mends)
  elseif not job.entry or not waits(T .. ':ready:' .. job.priority, job.entry) then
    if mends then
      step_out(id, { entry = job.entry, priority = job.priority })
      line_up(id, job.priority)
    end
    tell(reply, 'job-without-entry', id, '', mends)
  end
end

local function examine_waiting(id, job)
  local facts = redis.call('HMGET', T .. ':job:' .. id, 'due', 'expires')
  local is_readable = has_texts(id, job)
  if not is_readable or #(job.spec or '') + redis.call('STRLEN', T .. ':spec:' .. id) == 0 then
    tell(reply, 'unreadable-job', id, 'its spec', false)
  end
  if is_readable then -- otherwise a claim would set its entry aside again
    examine_place(id, job, facts[1])
  end
  local expires = string.match(facts[2] or '', '^%d+$')
  if expires and #expires <= 15 and not redis.call('ZSCORE', T .. ':expiring', id) then
    if mends then
      redis.call('ZADD', T .. ':expiring', expires, id)
    end
    tell(reply, 'expiry-forgotten', id, '', mends)
  end
end

local function examine_running(id, job)
  if not job.lease or not is_live(job.lease) then
    tell(reply, 'running-without-lease', id, job.lease or '', false)
    return
  end
  local stream, entry = T .. ':ready:' .. job.priority, job.entry
  local is_there = entry and #redis.call('XRANGE', stream, entry, entry) > 0
  local pending = is_there and redis.pcall('XPENDING', stream, GROUP, entry, entry, 1, job.lease)
  if pending and not pending.err and #pending > 0 then
    return
  end
  if mends then
    if not is_there then
      entry = redis.call('XADD', stream, '*', 'id', id)
      redis.call('HSET', T .. ':job:' .. id, 'entry', entry)
    end
    hold_entry(stream, entry, job.lease)
  end
  tell(reply, 'running-without-entry', id, job.lease, mends)
end

local function examine_finished(id, job)
  local facts = redis.call('HMGET', T .. ':job:' .. id, 'survivors', 'confirmed')
  if (tonumber(facts[1] or '') or 0) > 0 then
    tell(reply, 'survivors', id, facts[1], false)
  end
  if facts[2] == '0' then
    tell(reply, 'unconfirmed', id, '', false)
  end
  local lasting = {}
  for _, key in ipairs({ T .. ':job:' .. id, T .. ':spec:' .. id, T .. ':text:' .. id, T .. ':stdin:' .. id,
    output_keys(id, job.attempt) }) do
    if redis.call('PTTL', key) == -1 then
      lasting[#lasting + 1] = key
    end
  end
  if #lasting > 0 then
    for _, key in ipairs(mends and lasting or {}) do
      redis.call('PEXPIRE', key, digits(tonumber(ARGV[4]) + SLACK_MS))
    end
    tell(reply, 'lasting-job', id, digits(#lasting), mends)
  end
end

for _, id in ipairs(ids) do
  local found, job = find_job(id)
  if found == 'unreadable' then
    tell(reply, 'unreadable-job', id, 'its record', false)
  elseif found ~= state then
    if mends then
      redis.call('ZREM', index, id)
      reply[3] = reply[3] + 1
      if found == 'gone' and IS_FINAL[state] then
        forget_kept(id)
      end
    end
    tell(reply, 'index-ghost', id, found, mends)
    if job then
      look_up(reply, id, job, mends)
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
