-- Move due jobs to their ready streams, and fail waiting jobs that were not started in time.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, passed for routing only: see base.lua
-- ARGV[1]  ms to keep a FAILED job
--
-- Uses  promoting
-- Builds  ready:, delayed, expiring, job:, spec:, stdin:, text:, output:, state:, intents:, events:, bell, kept,
-- counters
-- Returns {"promoted", count, ms until more is due, or -1 if nothing is delayed or expiring}

-- Redis never denies this write, so the next ones succeed even when memory is full.
redis.call('ZREM', T .. ':delayed', '')
local count = promote_due_jobs() + expire_due_jobs(tonumber(ARGV[1]))
local next_ms = -1
for _, key in ipairs({ T .. ':delayed', T .. ':expiring' }) do
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
  if first then
    local wait_ms = math.max(0, tonumber(first) - now_ms())
    next_ms = next_ms < 0 and wait_ms or math.min(next_ms, wait_ms)
  end
end
return { 'promoted', count, format_int(next_ms) }
