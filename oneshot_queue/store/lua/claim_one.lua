-- Give the requested waiting job to a live lease, whatever its position in the queue.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  job (hash)
-- ARGV[1]  lease
-- ARGV[2]  name of the worker
-- ARGV[3]  its host
-- ARGV[4]  job id
-- ARGV[5]  seed of the token: 32 random hex digits
-- ARGV[6]  ms to keep a FAILED job
-- ARGV[7]  run id of the server, as the worker knows it, or ''
--
-- Uses  promoting starting claim_pause entries
-- Builds  workers, ready:, delayed, expiring, job:, spec:, stdin:, text:, output:, state:, intents:, events:, kept,
-- counters, bell, epoch, settling
-- Returns {"claimed", 0, {id, attempt, token, spec, stdin}}, {"claimed", 0} if the job does not wait, {"later", ms}
-- until it is due or while claiming is paused after a server crash or failover, or {"lost"}

if not is_live(ARGV[1]) then
  return { 'lost' }
end
local pause_ms = claim_pause_ms(ARGV[7])
if pause_ms > 0 then
  return { 'later', format_int(pause_ms) }
end
promote_due_jobs()
expire_due_jobs(tonumber(ARGV[6]))
local id = ARGV[4]
local job = read_job_to_claim(KEYS[2])
local spec, stdin = read_waiting_texts(id, job)
if spec and has_expired(job) then
  expire_job(id, job, tonumber(ARGV[6]))
  return { 'claimed', 0 }
end
if spec and is_number(job.due, 15) then
  return { 'later', format_int(math.max(1, tonumber(job.due) - now_ms())) }
end
local has_entry = spec and ({ high = true, normal = true, low = true })[job.priority]
    and string.find(job.entry or '', '^%d+%-%d+$')
if not has_entry then
  return { 'claimed', 0 }
end
-- The group still delivers this entry once more; claim then returns it to its owner.
assign_entry(T .. ':ready:' .. job.priority, job.entry, ARGV[1])
return { 'claimed', 0, start_job(id, job, spec, stdin, ARGV[1],
  { worker = ARGV[2], host = ARGV[3], seed = ARGV[5] }) }
