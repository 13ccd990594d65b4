-- The function that releases the sweeper role together with a lease.

-- If this lease holds the sweeper role, release it, so that another worker can sweep at once.
local function release_sweeper(lease)
  if redis.pcall('GET', T .. ':sweeper') == lease then
    redis.call('DEL', T .. ':sweeper')
  end
end
