-- Forget finished jobs that are too old or too many, at most 100 a call; fewer if they had very many attempts.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, only named: see base.lua
-- ARGV[1]  ms to keep a COMPLETED job
-- ARGV[2]  ms to keep a FAILED or INTERRUPTED job
-- ARGV[3]  most finished jobs of this queue
-- ARGV[4]  most bytes of output of all of them
--
-- Uses  ending
-- Builds  job:, spec:, stdin:, text:, output:, state:, kept, counters
-- Returns {"pruned", count}

local removed, now = 0, now_ms()
for _, state in ipairs(FINAL) do
  local before = digits(now - tonumber(state == 'COMPLETED' and ARGV[1] or ARGV[2]))
  local left = MAX_REMOVALS - removed
  if left > 0 then
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', T .. ':state:' .. state, '-inf', before, 'LIMIT', 0, left)) do
      if outputs >= MAX_OUTPUTS then
        break
      end
      remove_job(id, state)
      removed = removed + 1
    end
  end
end
if removed < MAX_REMOVALS then
  removed = removed + prune_beyond(tonumber(ARGV[3]), tonumber(ARGV[4]), MAX_REMOVALS - removed)
end
return { 'pruned', removed }
