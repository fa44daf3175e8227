-- begin PREFIX BASE -> {epoch or "", version, now in ms, {pending member*}, {round known*}, present}
-- The rounds known are left out if the present plan is BASE: the caller published it.
-- Called before the planner reads rows. A version is never lower than Redis's clock in
-- milliseconds, so it keeps growing when Redis was emptied.
local version = math.max(tonumber(redis.call('GET', P .. 'plan:begun') or 0) + 1, now)
redis.call('SET', P .. 'plan:begun', string.format('%.0f', version))
local present = redis.call('HGET', P .. 'plan', 'version') or '0'
local known = {}
if present ~= ARGV[2] then known = redis.call('HKEYS', P .. 'plan:numbers') end
local pending = {}
for _, id in ipairs(redis.call('SMEMBERS', P .. 'touched')) do
  for _, member in ipairs(redis.call('ZRANGE', P .. 'pending:' .. id, 0, -1)) do
    pending[#pending + 1] = member
  end
end
return {
  redis.call('GET', P .. 'epoch') or '', string.format('%.0f', version),
  string.format('%.0f', now), pending, known, present,
}
