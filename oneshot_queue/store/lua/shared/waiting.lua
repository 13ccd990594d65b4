-- Whether a job that waits would ever be handed to anybody.

-- The last entry of a stream that was handed out, or nil if none ever was.
local function last_handed_out(stream)
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

-- Whether the entry waits for a claim, as it should: it is there, and was not handed out yet, to whomever.
local function waits(stream, entry)
  if #redis.call('XRANGE', stream, entry, entry) == 0 then
    return false
  end
  local last = last_handed_out(stream)
  return not last or is_later(entry, last)
end
