-- Remove finished jobs that are too old or over the queue's limits, at most 100 a call, fewer if they had many
-- attempts.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, passed for routing only: see base.lua
-- ARGV[1]  ms to keep a COMPLETED job
-- ARGV[2]  ms to keep a FAILED or INTERRUPTED job
-- ARGV[3]  limit for finished jobs of this queue
-- ARGV[4]  limit for bytes of their output
--
-- Uses  ending
-- Builds  job:, spec:, stdin:, text:, output:, state:, kept, counters
-- Returns {"pruned", count}

local removed, now = 0, now_ms()
for _, state in ipairs(FINAL) do
  local before = format_int(now - tonumber(state == 'COMPLETED' and ARGV[1] or ARGV[2]))
  local remaining = MAX_REMOVALS - removed
  if remaining > 0 then
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', T .. ':state:' .. state, '-inf', before, 'LIMIT', 0, remaining)) do
      if visited_outputs >= MAX_OUTPUTS then
        break
      end
      remove_job(id, state)
      removed = removed + 1
    end
  end
end
if removed < MAX_REMOVALS then
  removed = removed + prune_over_limits(tonumber(ARGV[3]), tonumber(ARGV[4]), MAX_REMOVALS - removed)
end
return { 'pruned', removed }
