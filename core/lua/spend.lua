-- A leaky bucket (GCRA): the key holds when it will be empty, in ms of this server's clock.
-- KEYS[1] the bucket; ARGV limit, period in ms, cost.
-- Returns {allowed, remaining, ms until it would be allowed, ms until the bucket is empty}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local limit, period, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local step = period / limit
local empty = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local after = empty + step * cost
if after - now > period + 0.5 then
  return {0, math.max(0, math.floor((period - (empty - now)) / step)),
          math.ceil(after - period - now), math.ceil(empty - now)}
end
redis.call('SET', KEYS[1], string.format('%.3f', after), 'PX', math.max(1, math.ceil(after - now)))
return {1, math.max(0, math.floor((period - (after - now)) / step)), 0, math.ceil(after - now)}
