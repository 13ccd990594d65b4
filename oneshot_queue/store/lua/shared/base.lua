-- What every script begins with: the clock, the table of states, and the history of a job.
--
-- KEYS[1] is always the queue's prefix, `{<namespace>:<queue>}`; every other key is built from it.
--
-- No script names it alone. There never is a key of that name, and while a cluster moves a slot, a script that names only
-- absent keys is run by the new node, which has a part of the queue, or nothing. One that names several is put off by
-- both nodes until the move is over. So a script that has no other key to name names `workers`.

local T = KEYS[1]
local GROUP = 'workers'
local PRIORITIES = { 'high', 'normal', 'low' }

-- A script happens at one instant.
local instant_us

local function time_us()
  if not instant_us then
    local t = redis.call('TIME')
    instant_us = t[1] * 1000000 + t[2]
  end
  return instant_us
end

local function now_ms()
  return math.floor(time_us() / 1000)
end

-- When something happened that is told `ago` ms later. Reports of one job come at different speeds; its history stays in
-- order all the same, so never before `last`, its latest change.
local function happened_ms(ago, last)
  return math.max(now_ms() - tonumber(ago), tonumber(last) or 0)
end

-- Lua prints large numbers with 14 digits; ids, times and tokens need them all.
local function digits(number)
  return string.format('%.0f', number)
end

-- The writes that follow pass even when memory is full: Redis lets a script go on once it has written, and removing an
-- absent field is a write that it never denies.
local function begin_writing()
  redis.call('HDEL', KEYS[2], '')
end

-- What a job that has ended still has of its token: enough to tell its attempts apart. The rest marks processes, and there
-- are none.
local function short_token(token)
  return string.match(token or '', '^%d+%-%x%x%x%x') or token
end

local function next_state(state, event)
  return TRANSITIONS[state .. ' ' .. event]
end

-- A hash is small as long as no field of it is longer.
local MOST_FIELD = 64

local LETTERS = { CREATED = 'c', RUNNING = 'r', IDLE = 'i', INTERRUPTED = 'I', COMPLETED = 'C', FAILED = 'F' }

-- The history of a short life is the field `log` of the job: rows of `<letter><ms since it was created>`, cause and by,
-- with '*' for the worker that is named in the hash. With one more row it is what this returns; nil if that does not fit.
--
-- job: {log, created}; row: {state, at_ms, attempt, cause, by}, and detail if there is any
local function log_with(job, row, worker)
  local since_ms = row.at_ms - (tonumber(job.created or '') or math.huge)
  if not job.log or since_ms < 0 or row.attempt ~= '1' or row.detail or row.by == '*' then
    return nil
  end
  local by = row.by == worker and '*' or row.by
  local text = LETTERS[row.state] .. digits(since_ms) .. '\t' .. row.cause .. '\t' .. by
  local log = job.log .. string.gsub(text, '\t+$', '') .. '\n'
  return #log <= MOST_FIELD and log or nil
end

local KEEP_FIRST, KEEP_LAST = 20, 200

-- Forget the oldest row behind the first 20, and count it.
local function drop_row(text_key)
  local dropped, row, kept = 0, 0, {}
  for line in string.gmatch(redis.call('GET', text_key), '[^\n]+') do
    if string.sub(line, 1, 9) == '!dropped\t' then
      dropped = tonumber(string.sub(line, 10)) or 0
    elseif string.sub(line, 1, 1) == '!' then
      kept[#kept + 1] = line
    else
      row = row + 1
      if row ~= KEEP_FIRST + 1 then
        kept[#kept + 1] = line
      end
    end
  end
  kept[#kept + 1] = '!dropped\t' .. digits(dropped + 1)
  redis.call('SET', text_key, table.concat(kept, '\n') .. '\n')
end

local function text_row(row)
  return table.concat({ digits(row.at_ms), row.attempt, row.state, row.cause, row.by, row.detail }, '\t') .. '\n'
end

-- Let a history that begins in the hash lie with the texts, where it may be as long as it likes.
local function unfold_history(id)
  local job_key = T .. ':job:' .. id
  local job = redis.call('HMGET', job_key, 'log', 'created', 'worker')
  local text, rows, states = '', 0, {}
  for state, letter in pairs(LETTERS) do
    states[letter] = state
  end
  for letter, since_ms, rest in string.gmatch(job[1] or '', '(%a)(%d+)([^\n]*)\n') do
    local cause, by = string.match(rest .. '\t\t', '^\t?([^\t]*)\t([^\t]*)')
    local at_ms = (tonumber(job[2] or '') or 0) + tonumber(since_ms)
    text = text .. text_row({ state = states[letter] or letter, at_ms = at_ms, attempt = '1', cause = cause,
      by = by == '*' and job[3] or by })
    rows = rows + 1
  end
  if job[1] then
    redis.call('APPEND', T .. ':text:' .. id, text)
    redis.call('HSET', job_key, 'rows', rows)
    redis.call('HDEL', job_key, 'log')
  end
end

-- Add a row to a history that does not fit into the hash.
local function add_row(id, row)
  unfold_history(id)
  local text_key = T .. ':text:' .. id
  redis.call('APPEND', text_key, text_row(row))
  if redis.call('HINCRBY', T .. ':job:' .. id, 'rows', 1) > KEEP_FIRST + KEEP_LAST then
    drop_row(text_key)
    redis.call('HINCRBY', T .. ':job:' .. id, 'rows', -1)
  end
end

-- Add a row to a job's history. row: {state, at_ms, attempt, cause, by, detail (may be left out)}, texts free of tabs and
-- newlines
local function add_history(id, row)
  local job = redis.call('HMGET', T .. ':job:' .. id, 'log', 'created', 'worker')
  local log = log_with({ log = job[1], created = job[2] }, row, job[3])
  if log then
    redis.call('HSET', T .. ':job:' .. id, 'log', log)
  else
    add_row(id, row)
  end
end

-- Add a text for people (`error` or `reason`); the caller has escaped its newlines.
local function add_text(id, kind, text)
  if text ~= '' then
    redis.call('APPEND', T .. ':text:' .. id, '!' .. kind .. '\t' .. text .. '\n')
  end
end

local function move_state(id, from, to, at_ms)
  redis.call('ZREM', T .. ':state:' .. from, id)
  redis.call('ZADD', T .. ':state:' .. to, digits(at_ms), id)
end

-- Tell whoever waits for this job; it is an announcement only, the truth is in the keys.
local function announce(id, news)
  redis.call('PUBLISH', T .. ':events:' .. id, news)
end

-- Whether a lease is registered and was not condemned: a sweeper sets its end to 0 before it decides its jobs.
local function is_live(lease)
  local ends = redis.call('ZSCORE', T .. ':workers', lease)
  return ends and tonumber(ends) > 0
end

-- Wake one idle worker. The list is a doorbell: more than 64 waiting rings say nothing new.
local function ring_bell()
  if redis.call('LLEN', T .. ':bell') < 64 then
    redis.call('RPUSH', T .. ':bell', '1')
  end
end
