-- Hand exactly this waiting job to a live lease, wherever it stands in the queue, and no other.
--
-- KEYS[1]  the queue's prefix
-- KEYS[2]  workers (sorted set: lease -> end of lease in ms)
-- KEYS[3]  job (hash)
-- ARGV[1]  lease
-- ARGV[2]  name of the worker
-- ARGV[3]  its host
-- ARGV[4]  job id
--
-- Uses  starting
-- Builds  ready:, job:, spec:, stdin:, text:, state:, events:
-- Returns {"claimed", 0, {id, attempt, token, spec, stdin}}, {"claimed", 0} if it does not wait, or {"lost"}

if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  return { 'lost' }
end
local id = ARGV[4]
local job = read_job(KEYS[3])
local spec, stdin = read_spec(id, job)
local has_place = spec and ({ high = true, normal = true, low = true })[job.priority]
    and string.find(job.entry or '', '^%d+%-%d+$')
if not has_place then
  return { 'claimed', 0 }
end
local stream = T .. ':ready:' .. job.priority
-- FORCE: the entry was never delivered. The group will still deliver it once; claim gives it back to its owner then.
local taken = redis.pcall('XCLAIM', stream, 'workers', ARGV[1], 0, job.entry, 'FORCE', 'JUSTID')
if taken.err then
  redis.call('XGROUP', 'CREATE', stream, 'workers', '0', 'MKSTREAM')
  redis.call('XCLAIM', stream, 'workers', ARGV[1], 0, job.entry, 'FORCE', 'JUSTID')
end
return { 'claimed', 0, start_job(id, job, spec, stdin, ARGV[1], ARGV[2], ARGV[3]) }
