-- What ends with a lease.

-- Whoever swept the queue under this lease does so no more: another may begin at once.
local function end_sweeping(lease)
  if redis.pcall('GET', T .. ':sweeper') == lease then
    redis.call('DEL', T .. ':sweeper')
  end
end
