-- settle PREFIX (ROUND ASSIGNMENT DEVICE OUTCOME)*
-- What is free again is not given out here: the next plan counts it from rows.
for at = 2, #ARGV, 4 do
  local round, device, outcome = ARGV[at], ARGV[at + 2], ARGV[at + 3]
  local member = ARGV[at + 1] .. ':' .. device
  redis.call('ZREM', P .. 'pending:' .. round, member)
  if redis.call('HEXISTS', P .. 'plan:numbers', round) == 1 then
    if outcome == 'assigned' then
      -- A planner that read the rows just before this commit must not take the slot for free.
      redis.call('ZADD', P .. 'settled:' .. round, now, member)
      redis.call('EXPIRE', P .. 'settled:' .. round, 120)
      redis.call('SADD', P .. 'seen:' .. round, device)
    elseif outcome == 'full' then
      redis.call('SREM', P .. 'seen:' .. round, device)
    end
  end
end
return redis.status_reply('OK')
