-- Functions that check whether a waiting job's entry can still be delivered.

-- The id of the last entry that was delivered from a stream, or nil without a group.
local function last_delivered(stream)
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  for _, group in ipairs(groups.err and {} or groups) do
    local facts = {}
    for index = 1, #group, 2 do
      facts[group[index]] = group[index + 1]
    end
    if facts['name'] == GROUP then
      return facts['last-delivered-id']
    end
  end
end

local function is_later(entry, other)
  local ms, number = string.match(entry, '^(%d+)%-(%d+)$')
  local other_ms, other_number = string.match(other, '^(%d+)%-(%d+)$')
  ms, other_ms = tonumber(ms), tonumber(other_ms)
  return ms > other_ms or (ms == other_ms and tonumber(number) > tonumber(other_number))
end

-- Whether an entry exists and was not delivered yet, so that a claim will find it.
local function is_undelivered(stream, entry)
  if #redis.call('XRANGE', stream, entry, entry) == 0 then
    return false
  end
  local last = last_delivered(stream)
  return not last or is_later(entry, last)
end
