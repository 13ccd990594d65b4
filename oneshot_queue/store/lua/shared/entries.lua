-- Entries of the ready streams: whose they are, and what becomes of those that are nobody's.

local function forget_entry(stream, entry)
  redis.call('XACK', stream, GROUP, entry)
  redis.call('XDEL', stream, entry)
end

local function set_aside(stream, entry, fields)
  forget_entry(stream, entry)
  local told = entry
  for index = 1, math.min(#(fields or {}), 8) do
    told = told .. ' ' .. string.sub(fields[index], 1, 200)
  end
  redis.call('LPUSH', T .. ':quarantine', string.sub(told, 1, 1000))
  redis.call('LTRIM', T .. ':quarantine', 0, 999)
  redis.call('HINCRBY', T .. ':counters', 'malformed', 1)
end

-- Let an entry be pending for a lease, whether it was delivered before or not (FORCE). If the group went with the stream,
-- or never was, it is made: from 0, so that nothing that waits is skipped.
local function hold_entry(stream, entry, lease)
  if redis.pcall('XCLAIM', stream, GROUP, lease, 0, entry, 'FORCE', 'JUSTID').err then
    redis.call('XGROUP', 'CREATE', stream, GROUP, '0', 'MKSTREAM')
    redis.call('XCLAIM', stream, GROUP, lease, 0, entry, 'FORCE', 'JUSTID')
  end
end

-- The id of the job an entry speaks of, or nil if it names none.
local function id_of(fields)
  local id = fields and #fields == 2 and fields[1] == 'id' and fields[2]
  return id and #id <= 64 and string.find(id, '^[%w._-]+$') and id or nil
end
