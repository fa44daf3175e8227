-- begin PREFIX -> {epoch or "", version, now in ms, {pending member*}, {round known*}}
-- Called before the planner reads rows. A version is never lower than Redis's clock in
-- milliseconds, so it keeps growing when Redis was emptied.
local version = math.max(tonumber(redis.call('GET', P .. 'plan:begun') or 0) + 1, now)
redis.call('SET', P .. 'plan:begun', string.format('%.0f', version))
local known = redis.call('HKEYS', P .. 'plan:numbers')
local pending = {}
for _, id in ipairs(known) do
  for _, member in ipairs(redis.call('ZRANGE', P .. 'pending:' .. id, 0, -1)) do
    pending[#pending + 1] = member
  end
end
return {
  redis.call('GET', P .. 'epoch') or '', string.format('%.0f', version),
  string.format('%.0f', now), pending, known,
}
