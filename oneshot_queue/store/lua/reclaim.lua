-- Return the jobs claimed under a lease once more, at most 100, after a claim whose reply was lost. Changes nothing.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, passed for routing only: see base.lua
-- ARGV[1]  lease
-- ARGV[2]  limit for bytes of specs and stdin; the job that reaches it is the last
-- ARGV[3...]  tokens of jobs to leave out, because the worker knows them
--
-- Uses  starting
-- Builds  ready:, job:, spec:, stdin:
-- Returns {"claimed", 0, {id, attempt, token, spec, stdin}...}

local known, claimed, total_bytes = {}, {}, 0
for i = 3, #ARGV do
  known[ARGV[i]] = true
end
for _, priority in ipairs(PRIORITIES) do
  local stream = T .. ':ready:' .. priority
  -- More than a worker has slots: the jobs just claimed may be behind all that are running.
  local pending = redis.pcall('XPENDING', stream, GROUP, '-', '+', 20000, ARGV[1])
  for _, row in ipairs(pending.err and {} or pending) do
    if #claimed >= 100 or total_bytes >= tonumber(ARGV[2]) then
      break
    end
    local found = redis.call('XRANGE', stream, row[1], row[1])[1]
    local id = found and found[2][2]
    -- For a damaged job, Redis replies with an error. It has no values, so all names are nil.
    local reply = id and redis.pcall('HMGET', T .. ':job:' .. id,
      'state', 'lease', 'attempt', 'token', 'entry', 'priority', 'spec', 'stdin') or {}
    local state, lease, attempt, token, entry, stored_priority, spec, stdin = unpack(reply)
    local is_held = (state == 'RUNNING' or state == 'IDLE') and lease == ARGV[1]
    if is_held and entry == row[1] and stored_priority == priority and not known[token] then
      local spec_text, stdin_text = read_texts(id, { spec = spec, stdin = stdin })
      if spec_text and is_number(attempt, 9) and is_token(token) then
        total_bytes = total_bytes + #spec_text + #stdin_text
        claimed[#claimed + 1] = { id, attempt, token, spec_text, stdin_text }
      end
    end
  end
end
return { 'claimed', 0, unpack(claimed) }
