-- publish PREFIX PAYLOAD -> {"ok", message} | {"epoch", present} | {"version", present} | {"late", age in ms}
-- Open slots of a round = free slots by its row - granted and not yet rows - rows too new for the
-- reader. What is counted twice under-offers until the next plan; nothing is counted never.
local STALE_MS, LATE_MS, KEPT_MS = 5000, 30000, 60000
local plan = cjson.decode(ARGV[2])

local epoch = redis.call('GET', P .. 'epoch') or ''
if epoch ~= plan.expected then return { 'epoch', epoch } end
local present = redis.call('HGET', P .. 'plan', 'version') or '0'
if plan.version <= tonumber(present) then return { 'version', present } end
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

local stays = {}
for _, round in ipairs(plan.rounds) do stays[round.id] = true end
for _, id in ipairs(redis.call('HKEYS', P .. 'plan:numbers')) do
  if not stays[id] then
    redis.call('UNLINK', P .. 'pending:' .. id, P .. 'settled:' .. id, P .. 'seen:' .. id)
  end
end

local records, numbers, open, info = {}, {}, {}, {}
local taken, slots = {}, {}
for index, round in ipairs(plan.rounds) do
  local name = tostring(index)
  local count = unseen(round.id)
  slots[index] = math.max(0, round.free - count)
  taken[round.tenant] = (taken[round.tenant] or 0) + count
  records[#records + 1] = name
  records[#records + 1] = table.concat({ round.id, round.tenant, round.group, round.private }, ' ')
  numbers[#numbers + 1] = round.id
  numbers[#numbers + 1] = name
  open[#open + 1] = round.id
  open[#open + 1] = slots[index]
  info[#info + 1] = round.id
  info[#info + 1] = round.info
end

local room, room_of = {}, {}
for tenant, free in pairs(plan.room) do
  room_of[tenant] = math.max(0, free - (taken[tenant] or 0))
  room[#room + 1] = tenant
  room[#room + 1] = room_of[tenant]
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

replace('plan:rounds', records)
replace('plan:numbers', numbers)
replace('plan:open', open)
replace('plan:info', info)
replace('plan:room', room)
replace('plan:queues', flat(plan.queues))
replace('plan:signatures', flat(plan.signatures))
for id, devices in pairs(plan.seen) do in_pieces('SADD', P .. 'seen:' .. id, devices) end
redis.call('UNLINK', P .. 'wanted')

-- Slots that a signature could take: those of its groups, as far as their tenants may.
local by_group = {}
for index, round in ipairs(plan.rounds) do
  local count = math.min(slots[index], room_of[round.tenant] or math.huge)
  by_group[round.group] = (by_group[round.group] or 0) + count
end
local reachable = {}
for signature in pairs(plan.signatures) do
  local count = 0
  for group in string.gmatch(signature, '[^+]+') do count = count + (by_group[group] or 0) end
  if count > 0 then reachable[#reachable + 1] = string.format('%q:%d', signature, count) end
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
  'message', message, 'at', string.format('%.0f', now), 'policy', plan.policy
)
redis.call('HINCRBY', P .. 'counters', 'plans', 1)
redis.call('PUBLISH', P .. 'plan', message)
return { 'ok', message }
