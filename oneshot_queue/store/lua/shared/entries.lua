-- Functions that delete, quarantine, assign and parse entries of the ready streams.

local function delete_entry(stream, entry)
  redis.call('XACK', stream, GROUP, entry)
  redis.call('XDEL', stream, entry)
end

-- Move a malformed entry to the quarantine list, cut to 1,000 bytes.
local function quarantine_entry(stream, entry, fields)
  delete_entry(stream, entry)
  local row = entry
  for index = 1, math.min(#(fields or {}), 8) do
    row = row .. ' ' .. string.sub(fields[index], 1, 200)
  end
  redis.call('LPUSH', T .. ':quarantine', string.sub(row, 1, 1000))
  redis.call('LTRIM', T .. ':quarantine', 0, 999)
  redis.call('HINCRBY', T .. ':counters', 'malformed', 1)
end

-- Make an entry pending for a lease, delivered before or not (FORCE). Creates the group if it is missing, for example
-- because the stream was deleted. It starts at 0, so that no waiting entry is skipped.
local function assign_entry(stream, entry, lease)
  if redis.pcall('XCLAIM', stream, GROUP, lease, 0, entry, 'FORCE', 'JUSTID').err then
    redis.call('XGROUP', 'CREATE', stream, GROUP, '0', 'MKSTREAM')
    redis.call('XCLAIM', stream, GROUP, lease, 0, entry, 'FORCE', 'JUSTID')
  end
end

-- The job id in an entry's fields, or nil if they contain no valid one.
local function job_id_of(fields)
  local id = fields and #fields == 2 and fields[1] == 'id' and fields[2]
  return id and #id <= 64 and string.find(id, '^[%w._-]+$') and id or nil
end
