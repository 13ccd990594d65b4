-- Hand over once more what is claimed under this lease, at most 100 jobs: for after a claim whose reply was lost. Changes
-- nothing.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, only named: see base.lua
-- ARGV[1]  lease
-- ARGV[2]  bytes of specs and stdin; the job that reaches them is the last
-- ARGV[3...]  tokens of jobs that are known: these are left out
--
-- Uses  starting
-- Builds  ready:, job:, spec:, stdin:
-- Returns {"claimed", 0, {id, attempt, token, spec, stdin}...}

local known, claimed, bytes = {}, {}, 0
for i = 3, #ARGV do
  known[ARGV[i]] = true
end
for _, priority in ipairs(PRIORITIES) do
  local stream = T .. ':ready:' .. priority
  -- More than a worker has slots: what was just claimed may stand behind everything that runs.
  local pending = redis.pcall('XPENDING', stream, GROUP, '-', '+', 20000, ARGV[1])
  for _, row in ipairs(pending.err and {} or pending) do
    if #claimed >= 100 or bytes >= tonumber(ARGV[2]) then
      break
    end
    local entry = redis.call('XRANGE', stream, row[1], row[1])[1]
    local id = entry and entry[2][2]
    -- A damaged job is answered with an error here, which has none of these fields.
    local job = id and redis.pcall('HMGET', T .. ':job:' .. id, 'state', 'lease', 'attempt', 'token', 'entry',
      'priority', 'spec', 'stdin') or {}
    local is_held = (job[1] == 'RUNNING' or job[1] == 'IDLE') and job[2] == ARGV[1]
    if is_held and job[5] == row[1] and job[6] == priority and not known[job[4]] then
      local spec, stdin = read_texts(id, { spec = job[7], stdin = job[8] })
      if spec and is_number(job[3], 9) and is_token(job[4]) then
        bytes = bytes + #spec + #stdin
        claimed[#claimed + 1] = { id, job[3], job[4], spec, stdin }
      end
    end
  end
end
return { 'claimed', 0, unpack(claimed) }
