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

local function time_us()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
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

local function next_state(state, event)
  return TRANSITIONS[state .. ' ' .. event]
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

-- Add a row to a job's history; `cause`, `by` and `detail` (may be left out) are free of tabs and newlines.
local function add_history(id, state, at_ms, attempt, cause, by, detail)
  local text_key = T .. ':text:' .. id
  local row = table.concat({ digits(at_ms), attempt, state, cause, by, detail }, '\t')
  redis.call('APPEND', text_key, row .. '\n')
  if redis.call('HINCRBY', T .. ':job:' .. id, 'rows', 1) > KEEP_FIRST + KEEP_LAST then
    drop_row(text_key)
    redis.call('HINCRBY', T .. ':job:' .. id, 'rows', -1)
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
