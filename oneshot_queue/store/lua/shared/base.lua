-- Functions that most scripts need: the clock, state transitions, a job's history, announcements.
--
-- KEYS[1] is always the queue's prefix, `{<namespace>:<queue>}`. Scripts build every other key from it.
--
-- A script never passes the prefix alone, because no key of that name exists. While a cluster migrates a slot, it lets
-- the target node run a script whose only key is missing, although that node holds part of the queue at most. With
-- several keys, both nodes answer TRYAGAIN until the migration ends. A script that needs no other key therefore passes
-- `workers`.

local T = KEYS[1]
local GROUP = 'workers'
local PRIORITIES = { 'high', 'normal', 'low' }

-- Cached, so that everything a script does happens at one instant.
local script_time_us

local function time_us()
  if not script_time_us then
    local t = redis.call('TIME')
    script_time_us = t[1] * 1000000 + t[2]
  end
  return script_time_us
end

local function now_ms()
  return math.floor(time_us() / 1000)
end

-- The time of an event that is reported `ago` ms late. Never before `last`, the time of the job's latest change:
-- reports about one job may arrive with different delays, and its history must stay in order.
local function happened_ms(ago, last)
  return math.max(now_ms() - tonumber(ago), tonumber(last) or 0)
end

-- Lua prints large numbers with 14 digits only; ids, times and tokens need all of them.
local function format_int(number)
  return string.format('%.0f', number)
end

-- Make the following writes succeed even when memory is full. Redis lets a script continue once it has written, and it
-- never denies the removal of a field, not even of one that does not exist.
local function begin_writing()
  redis.call('HDEL', KEYS[2], '')
end

-- The part of a token that a finished job keeps: enough to tell its attempts apart. The rest marks the attempt's
-- processes, and none of them is left.
local function short_token(token)
  return string.match(token or '', '^%d+%-%x%x%x%x') or token
end

local function next_state(state, event)
  return TRANSITIONS[state .. ' ' .. event]
end

-- Redis stores a hash compactly only if no field is longer than this.
local MAX_FIELD_BYTES = 64

local STATE_LETTERS = { CREATED = 'c', RUNNING = 'r', IDLE = 'i', INTERRUPTED = 'I', COMPLETED = 'C', FAILED = 'F' }

-- A short history is stored in the job's field `log`, one line per row: `<letter><ms since creation>`, cause and by.
-- '*' stands for the worker that the hash names. Returns the log with one more row, or nil if the row does not fit.
--
-- job: {log, created}; row: {state, at_ms, attempt, cause, by, detail (optional)}
local function extended_log(job, row, worker)
  local since_ms = row.at_ms - (tonumber(job.created or '') or math.huge)
  if not job.log or since_ms < 0 or row.attempt ~= '1' or row.detail or row.by == '*' then
    return nil
  end
  local by = row.by == worker and '*' or row.by
  local text = STATE_LETTERS[row.state] .. format_int(since_ms) .. '\t' .. row.cause .. '\t' .. by
  local log = job.log .. string.gsub(text, '\t+$', '') .. '\n'
  return #log <= MAX_FIELD_BYTES and log or nil
end

local KEEP_FIRST, KEEP_LAST = 20, 200

-- Drop the oldest row after the first 20, and count it.
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
  kept[#kept + 1] = '!dropped\t' .. format_int(dropped + 1)
  redis.call('SET', text_key, table.concat(kept, '\n') .. '\n')
end

local function text_row(row)
  return table.concat({ format_int(row.at_ms), row.attempt, row.state, row.cause, row.by, row.detail }, '\t') .. '\n'
end

-- Move a job's history from its hash to its text key, where it may grow.
local function unfold_history(id)
  local job_key = T .. ':job:' .. id
  local log, created, worker = unpack(redis.call('HMGET', job_key, 'log', 'created', 'worker'))
  local text, rows, states = '', 0, {}
  for state, letter in pairs(STATE_LETTERS) do
    states[letter] = state
  end
  for letter, since_ms, rest in string.gmatch(log or '', '(%a)(%d+)([^\n]*)\n') do
    local cause, by = string.match(rest .. '\t\t', '^\t?([^\t]*)\t([^\t]*)')
    local at_ms = (tonumber(created or '') or 0) + tonumber(since_ms)
    text = text .. text_row({ state = states[letter] or letter, at_ms = at_ms, attempt = '1', cause = cause,
      by = by == '*' and worker or by })
    rows = rows + 1
  end
  if log then
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

-- Add a row to a job's history.
--
-- row: {state, at_ms, attempt, cause, by, detail (optional)}; no value contains a tab or a newline
local function add_history(id, row)
  local log, created, worker = unpack(redis.call('HMGET', T .. ':job:' .. id, 'log', 'created', 'worker'))
  local longer_log = extended_log({ log = log, created = created }, row, worker)
  if longer_log then
    redis.call('HSET', T .. ':job:' .. id, 'log', longer_log)
  else
    add_row(id, row)
  end
end

-- Add a text for users, of kind `error` or `reason`. The caller has escaped its newlines.
local function add_text(id, kind, text)
  if text ~= '' then
    redis.call('APPEND', T .. ':text:' .. id, '!' .. kind .. '\t' .. text .. '\n')
  end
end

local function move_state(id, from, to, at_ms)
  redis.call('ZREM', T .. ':state:' .. from, id)
  redis.call('ZADD', T .. ':state:' .. to, format_int(at_ms), id)
end

-- Notify the clients that wait for this job. The message is only a hint; the keys hold the truth.
local function announce(id, news)
  redis.call('PUBLISH', T .. ':events:' .. id, news)
end

-- Whether a lease is registered and not condemned. A sweeper sets a lease's end to 0 before it settles its jobs.
local function is_live(lease)
  local ends = redis.call('ZSCORE', T .. ':workers', lease)
  return ends and tonumber(ends) > 0
end

-- Wake one idle worker. More than 64 rings in the list would carry no information.
local function ring_bell()
  if redis.call('LLEN', T .. ':bell') < 64 then
    redis.call('RPUSH', T .. ':bell', '1')
  end
end
