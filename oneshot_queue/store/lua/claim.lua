-- Give waiting jobs to a live lease, high priority first: at most its free slots, and at most its fair share.
--
-- An entry stays in its stream, pending for the lease's own consumer, until the job ends. Entries that belong to no
-- waiting job are cleaned up on the way: those of finished jobs are deleted, those of running jobs return to their
-- owner, and those without a readable job are quarantined.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers, passed for routing only: see base.lua
-- ARGV[1]  lease
-- ARGV[2]  name of the worker
-- ARGV[3]  its host
-- ARGV[4]  free slots; at most 100 are used
-- ARGV[5]  limit for bytes of specs and stdin; the job that reaches it is the last
-- ARGV[6]  seed of the tokens: 32 random hex digits for each free slot
-- ARGV[7]  run id of the server, as the worker knows it, or ''
-- ARGV[8]  ms to keep a FAILED job
--
-- Uses  promoting starting claim_pause entries
-- Builds  workers, ready:, delayed, expiring, job:, spec:, stdin:, text:, output:, state:, intents:, events:,
-- kept, quarantine, counters, bell, epoch, settling
-- Returns {"claimed", number quarantined, {id, attempt, token, spec, stdin}...}, {"later", ms} while claiming is paused
-- after a server crash or failover, or {"lost"}

-- Read one new entry as {id, fields}, or nil if there is none. Redis replies with a list of streams, or false for none;
-- fakeredis may reply with the single stream itself, or an empty table.
local function next_entry(stream, lease)
  if redis.call('EXISTS', stream) == 0 then
    return nil
  end
  local reply = redis.pcall('XREADGROUP', 'GROUP', GROUP, lease, 'COUNT', 1, 'STREAMS', stream, '>')
  if type(reply) == 'table' and reply.err then
    -- The group is missing. Create it at 0, so that no waiting entry is skipped; no job can start twice.
    redis.call('XGROUP', 'CREATE', stream, GROUP, '0')
    reply = redis.call('XREADGROUP', 'GROUP', GROUP, lease, 'COUNT', 1, 'STREAMS', stream, '>')
  end
  if not reply or #reply == 0 then
    return nil
  end
  local streams = type(reply[1]) == 'table' and reply[1] or reply
  return streams[2][1]
end

-- The most jobs to claim. If few jobs wait, a worker leaves some of them for the others.
local function fair_share(waiting, free)
  if free == 1 then
    return 1
  end
  return math.min(free, math.max(1, math.ceil(waiting / redis.call('ZCARD', T .. ':workers'))))
end

local lease = ARGV[1]
if not is_live(lease) then
  return { 'lost' }
end
local pause_ms = claim_pause_ms(ARGV[7])
if pause_ms > 0 then
  return { 'later', format_int(pause_ms) }
end
promote_due_jobs()
expire_due_jobs(tonumber(ARGV[8]))
local waiting = redis.call('ZCARD', T .. ':state:CREATED') - redis.call('ZCARD', T .. ':delayed')
local share = fair_share(waiting, math.min(tonumber(ARGV[4]), 100))
local claimer = { worker = ARGV[2], host = ARGV[3], seed = ARGV[6] }

local quarantined, bytes, seen, claimed = 0, 0, 0, {}
for _, priority in ipairs(PRIORITIES) do
  local stream = T .. ':ready:' .. priority
  -- At most 200 entries, so that the work stays bounded when a queue is full of entries that belong to no waiting job.
  while #claimed < share and bytes < tonumber(ARGV[5]) and seen < 200 do
    local entry = next_entry(stream, lease)
    if not entry then
      break
    end
    seen = seen + 1
    local id = job_id_of(entry[2])
    local job = id and read_job_to_claim(T .. ':job:' .. id)
    -- The priority is compared too: entries of two streams may have the same id.
    local is_its_entry = job and job.entry == entry[1] and (job.priority or priority) == priority
    if job and (IS_FINAL[job.state] or not is_its_entry) then
      delete_entry(stream, entry[1])
    elseif job and job.state ~= 'CREATED' and job.lease then
      if job.lease ~= lease then
        redis.call('XCLAIM', stream, GROUP, job.lease, 0, entry[1], 'JUSTID')
      end
    else
      local spec, stdin = read_waiting_texts(id, job)
      if spec and has_expired(job) then
        expire_job(id, job, tonumber(ARGV[8]))
      elseif spec then
        bytes = bytes + #spec + #stdin
        claimed[#claimed + 1] = start_job(id, job, spec, stdin, lease, claimer)
      else
        quarantine_entry(stream, entry[1], entry[2])
        quarantined = quarantined + 1
      end
    end
  end
end
if (#claimed >= share and #claimed ~= waiting) or bytes >= tonumber(ARGV[5]) or seen >= 200 then
  ring_bell()
end
return { 'claimed', quarantined, unpack(claimed) }
