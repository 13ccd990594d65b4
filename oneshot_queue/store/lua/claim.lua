-- Hand waiting jobs to a live lease, high priority first; never more than its free slots, or its share of what waits.
--
-- The entry stays in the stream, pending under the lease's own consumer, until the job ends. What is found on the way
-- and is no waiting job is put right: entries of ended jobs go, entries of running jobs return to their owner, and what
-- names no readable job is set aside.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, only named: see base.lua
-- ARGV[1]  lease
-- ARGV[2]  name of the worker
-- ARGV[3]  its host
-- ARGV[4]  free slots, at most 100
-- ARGV[5]  bytes of specs and stdin; the job that reaches them is the last
-- ARGV[6]  seed of the tokens: 32 random hex digits for each free slot
-- ARGV[7]  run id of the server, as the worker knows it, or ''
-- ARGV[8]  ms to keep a FAILED job
--
-- Uses  promoting starting settling entries
-- Builds  workers, ready:, delayed, expiring, job:, spec:, stdin:, text:, output:, state:, intents:, events:,
-- kept, quarantine, counters, bell, epoch, settling
-- Returns {"claimed", set aside, {id, attempt, token, spec, stdin}...}, {"later", ms} while the workers tell a server that
-- may have forgotten it what they run, or {"lost"}

-- One new entry as {id, fields}, or nil. Redis wraps streams in a list and gives false for none; a stand-in server may
-- hand the single stream back unwrapped, and an empty table.
local function next_entry(stream, lease)
  if redis.call('EXISTS', stream) == 0 then
    return nil
  end
  local reply = redis.pcall('XREADGROUP', 'GROUP', GROUP, lease, 'COUNT', 1, 'STREAMS', stream, '>')
  if type(reply) == 'table' and reply.err then
    -- The group went with the stream (or never was). From 0: what waits must not be skipped, and no job starts twice.
    redis.call('XGROUP', 'CREATE', stream, GROUP, '0')
    reply = redis.call('XREADGROUP', 'GROUP', GROUP, lease, 'COUNT', 1, 'STREAMS', stream, '>')
  end
  if not reply or #reply == 0 then
    return nil
  end
  local streams = type(reply[1]) == 'table' and reply[1] or reply
  return streams[2][1]
end

-- How many of the waiting jobs to take at most: where few wait, no worker takes so many that another has none.
local function share_of(waiting, free)
  if free == 1 then
    return 1
  end
  return math.min(free, math.max(1, math.ceil(waiting / redis.call('ZCARD', T .. ':workers'))))
end

local lease = ARGV[1]
if not is_live(lease) then
  return { 'lost' }
end
local settling_ms = settles(ARGV[7])
if settling_ms > 0 then
  return { 'later', digits(settling_ms) }
end
promote_due()
end_what_expired(tonumber(ARGV[8]))
local waiting = redis.call('ZCARD', T .. ':state:CREATED') - redis.call('ZCARD', T .. ':delayed')
local share = share_of(waiting, math.min(tonumber(ARGV[4]), 100))
local claimer = { worker = ARGV[2], host = ARGV[3], seed = ARGV[6] }

local aside, bytes, seen, claimed = 0, 0, 0, {}
for _, priority in ipairs(PRIORITIES) do
  local stream = T .. ':ready:' .. priority
  -- 200 looks bound the work when a queue is full of entries that are no waiting jobs.
  while #claimed < share and bytes < tonumber(ARGV[5]) and seen < 200 do
    local entry = next_entry(stream, lease)
    if not entry then
      break
    end
    seen = seen + 1
    local id = id_of(entry[2])
    local job = id and read_job(T .. ':job:' .. id)
    -- Entries of two streams may have one id.
    local is_its_entry = job and job.entry == entry[1] and (job.priority or priority) == priority
    if job and (IS_FINAL[job.state] or not is_its_entry) then
      forget_entry(stream, entry[1])
    elseif job and job.state ~= 'CREATED' and job.lease then
      if job.lease ~= lease then
        redis.call('XCLAIM', stream, GROUP, job.lease, 0, entry[1], 'JUSTID')
      end
    else
      local spec, stdin = read_spec(id, job)
      if spec and is_late(job) then
        end_expired(id, job, tonumber(ARGV[8]))
      elseif spec then
        bytes = bytes + #spec + #stdin
        claimed[#claimed + 1] = start_job(id, job, spec, stdin, lease, claimer)
      else
        set_aside(stream, entry[1], entry[2])
        aside = aside + 1
      end
    end
  end
end
if (#claimed >= share and #claimed ~= waiting) or bytes >= tonumber(ARGV[5]) or seen >= 200 then
  ring_bell()
end
return { 'claimed', aside, unpack(claimed) }
