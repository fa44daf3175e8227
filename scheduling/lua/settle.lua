-- settle PREFIX (ROUND ASSIGNMENT DEVICE OUTCOME)*
-- What is free again is not given out here: the next plan counts it from rows.
for at = 2, #ARGV, 4 do
  local round, device, outcome = ARGV[at], ARGV[at + 2], ARGV[at + 3]
  local member = ARGV[at + 1] .. ':' .. device
  redis.call('ZREM', P .. 'pending:' .. round, member)
  if outcome == 'assigned' then
    -- A planner that read the rows just before this commit must not take the slot for free; not
    -- even while it rebuilds what was emptied, so this is kept of rounds that are not known too.
    redis.call('ZADD', P .. 'settled:' .. round, now, member)
    redis.call('EXPIRE', P .. 'settled:' .. round, 120)
    redis.call('SADD', P .. 'touched', round)
  end
  if redis.call('HEXISTS', P .. 'plan:numbers', round) == 1 then
    if outcome == 'assigned' then
      redis.call('SADD', P .. 'seen:' .. round, device)
    elseif outcome == 'full' then
      redis.call('SREM', P .. 'seen:' .. round, device)
    end
  end
end
return redis.status_reply('OK')
