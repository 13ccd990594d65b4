-- Do what the clock asks for: let jobs stand in their streams that are due, end those that nobody started in time.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, only named: see base.lua
-- ARGV[1]  ms to keep a FAILED job
--
-- Uses  promoting
-- Builds  ready:, delayed, expiring, job:, spec:, stdin:, text:, output:, state:, intents:, events:, bell, kept, counters
-- Returns {"promoted", how many, ms until there is more to do or -1 if nothing is waited for}

redis.call('ZREM', T .. ':delayed', '') -- a write that passes when memory is full, so that the next ones do
local count = promote_due() + end_what_expired(tonumber(ARGV[1]))
local next_ms = -1
for _, key in ipairs({ T .. ':delayed', T .. ':expiring' }) do
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
  if first then
    local wait_ms = math.max(0, tonumber(first) - now_ms())
    next_ms = next_ms < 0 and wait_ms or math.min(next_ms, wait_ms)
  end
end
return { 'promoted', count, digits(next_ms) }
