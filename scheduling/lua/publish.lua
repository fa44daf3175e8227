-- publish PREFIX PAYLOAD
-- -> {"ok", message} | {"epoch", present} | {"version", present} | {"base", present} | {"late", age in ms}
-- A payload with a base holds only what has changed since that plan, which must be the present one.
-- Open slots of a round = free slots by its row - granted and not yet rows - rows too new for the
-- reader. What is counted twice under-offers until the next plan; nothing is counted never.
local STALE_MS, LATE_MS, KEPT_MS = 5000, 30000, 60000
local plan = cjson.decode(ARGV[2])

local epoch = redis.call('GET', P .. 'epoch') or ''
if epoch ~= plan.expected then return { 'epoch', epoch } end
local present = redis.call('HGET', P .. 'plan', 'version') or '0'
if plan.version <= tonumber(present) then return { 'version', present } end
if plan.base > 0 and plan.base ~= tonumber(present) then return { 'base', present } end
if now - plan.begun > LATE_MS then return { 'late', tostring(now - plan.begun) } end

local is_row = {}
for _, member in ipairs(plan.rows) do is_row[member] = true end

-- Grants of a round that the reader of the rows could not see. Tidies the sets on the way.
local function unseen(id)
  local count = 0
  local pending, settled = P .. 'pending:' .. id, P .. 'settled:' .. id
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', settled, plan.begun, '+inf')) do
    if not is_row[member] then count = count + 1 end
    -- Its device is not among those seen that the reader found, if Redis had been emptied.
    redis.call('SADD', P .. 'seen:' .. id, string.match(member, ':(.+)$'))
  end
  local list = redis.call('ZRANGE', pending, 0, -1, 'WITHSCORES')
  for at = 1, #list, 2 do
    local member = list[at]
    if is_row[member] then
      -- Its gateway has not said so yet. An older reader may still publish: keep it as settled.
      redis.call('ZREM', pending, member)
      redis.call('ZADD', settled, now, member)
      redis.call('EXPIRE', settled, 120)
    elseif tonumber(list[at + 1]) < now - STALE_MS then
      redis.call('ZREM', pending, member)
      redis.call('SREM', P .. 'seen:' .. id, string.match(member, ':(.+)$'))
    else
      count = count + 1
    end
  end
  redis.call('ZREMRANGEBYSCORE', settled, '-inf', now - KEPT_MS)
  return count
end

local function forget(id)
  redis.call('UNLINK', P .. 'pending:' .. id, P .. 'settled:' .. id, P .. 'seen:' .. id)
end

local function flat(map)
  local list = {}
  for key, value in pairs(map) do
    list[#list + 1] = key
    list[#list + 1] = value
  end
  return list
end

local function replace(name, list)
  redis.call('UNLINK', P .. name)
  in_pieces('HSET', P .. name, list)
end

-- What is left out is there from the base.
local function change(name, gone, list)
  if plan.base == 0 then return replace(name, list) end
  in_pieces('HDEL', P .. name, gone)
  in_pieces('HSET', P .. name, list)
end

local records, numbers, info, is_new = {}, {}, {}, {}
for _, new in ipairs(plan.new) do
  local number, id, record, text = unpack(new)
  is_new[id] = true
  records[#records + 1] = number
  records[#records + 1] = record
  numbers[#numbers + 1] = id
  numbers[#numbers + 1] = number
  info[#info + 1] = id
  info[#info + 1] = text
end
if plan.base == 0 then
  for _, id in ipairs(redis.call('HKEYS', P .. 'plan:numbers')) do
    if not is_new[id] then forget(id) end
  end
end
for _, id in ipairs(plan.gone) do forget(id) end
change('plan:rounds', plan.gone_numbers, records)
change('plan:numbers', plan.gone, numbers)
change('plan:info', plan.gone, info)
change('plan:queues', plan.gone_queues, flat(plan.queues))
change('plan:signatures', plan.gone_signatures, flat(plan.signatures))

-- Only rounds that have been granted or settled lately have anything that rows may not show.
local place, counts, taken = {}, {}, {}
for at, number in ipairs(plan.numbers) do place[number] = at end
for _, id in ipairs(redis.call('SMEMBERS', P .. 'touched')) do
  local at = place[tonumber(redis.call('HGET', P .. 'plan:numbers', id) or 0)]
  if at then
    counts[at] = unseen(id)
    local tenant = plan.tenants[plan.tenant_of[at]]
    taken[tenant] = (taken[tenant] or 0) + counts[at]
  end
  if redis.call('EXISTS', P .. 'pending:' .. id, P .. 'settled:' .. id) == 0 then
    redis.call('SREM', P .. 'touched', id)
  end
end

local room, room_of = {}, {}
for tenant, free in pairs(plan.room) do
  room_of[tenant] = math.max(0, free - (taken[tenant] or 0))
  room[#room + 1] = tenant
  room[#room + 1] = room_of[tenant]
end

-- Slots by round, and by group as far as their tenants may: gateways add up a signature's groups.
local open, by_group = {}, {}
for at, number in ipairs(plan.numbers) do
  local slots = math.max(0, plan.free[at] - (counts[at] or 0))
  open[#open + 1] = number
  open[#open + 1] = slots
  local group = plan.groups_named[plan.group_of[at]]
  local count = math.min(slots, room_of[plan.tenants[plan.tenant_of[at]]] or math.huge)
  by_group[group] = (by_group[group] or 0) + count
end
replace('plan:open', open)
replace('plan:room', room)
for id, devices in pairs(plan.seen) do in_pieces('SADD', P .. 'seen:' .. id, devices) end
redis.call('UNLINK', P .. 'wanted')

local reachable = {}
for group, count in pairs(by_group) do
  if count > 0 then reachable[#reachable + 1] = string.format('%q:%d', group, count) end
end

if epoch == '' then
  epoch = plan.new_epoch
  redis.call('SET', P .. 'epoch', epoch)
end
redis.call('SET', P .. 'groups', plan.groups_text)
local version = string.format('%.0f', plan.version)
local message = string.format(
  '{"version":%s,"epoch":%q,"groups":%q,"open":{%s}}',
  version, epoch, plan.groups, table.concat(reachable, ',')
)
redis.call(
  'HSET', P .. 'plan', 'version', version, 'groups', plan.groups, 'shuffled', plan.shuffled,
  'merged', plan.merged,  'message', message, 'at', string.format('%.0f', now), 'policy', plan.policy
)
redis.call('HINCRBY', P .. 'counters', 'plans', 1)
redis.call('PUBLISH', P .. 'plan', message)
return { 'ok', message }
