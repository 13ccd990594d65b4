-- Hand exactly this waiting job to a live lease, wherever it stands in the queue, and no other.
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
-- Uses  promoting starting settling entries
-- Builds  workers, ready:, delayed, expiring, job:, spec:, stdin:, text:, output:, state:, intents:, events:, kept,
-- counters, bell, epoch, settling
-- Returns {"claimed", 0, {id, attempt, token, spec, stdin}}, {"claimed", 0} if it does not wait, {"later", ms} until it is
-- due, or while a server that may have forgotten is told what runs, or {"lost"}

if not is_live(ARGV[1]) then
  return { 'lost' }
end
local settling_ms = settles(ARGV[7])
if settling_ms > 0 then
  return { 'later', digits(settling_ms) }
end
promote_due()
end_what_expired(tonumber(ARGV[6]))
local id = ARGV[4]
local job = read_job(KEYS[2])
local spec, stdin = read_spec(id, job)
if spec and is_late(job) then
  end_expired(id, job, tonumber(ARGV[6]))
  return { 'claimed', 0 }
end
if spec and is_number(job.due, 15) then
  return { 'later', digits(math.max(1, tonumber(job.due) - now_ms())) }
end
local has_place = spec and ({ high = true, normal = true, low = true })[job.priority]
    and string.find(job.entry or '', '^%d+%-%d+$')
if not has_place then
  return { 'claimed', 0 }
end
-- The group will still deliver it once; claim gives it back to its owner then.
hold_entry(T .. ':ready:' .. job.priority, job.entry, ARGV[1])
return { 'claimed', 0, start_job(id, job, spec, stdin, ARGV[1],
  { worker = ARGV[2], host = ARGV[3], seed = ARGV[5] }) }
