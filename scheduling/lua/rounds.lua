-- In front of every script. ARGV[1] is the prefix of all keys; they share one hash slot.
-- plan:rounds    index -> "round tenant group private[ holdout]"   plan:numbers   round -> index
-- plan:open      index -> slots neither bound nor granted  plan:room      tenant -> devices it may still take
-- pending:ROUND  granted, not yet known to be a row        settled:ROUND  committed lately
-- seen:ROUND     devices that had the round: never twice
-- touched        rounds of which something is pending or settled
local P = ARGV[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local rounds, opens, rooms, grants = {}, {}, {}, {}

local function round_at(index)
  local round = rounds[index]
  if round == nil then
    local text = redis.call('HGET', P .. 'plan:rounds', index)
    round = false
    if text then
      local id, tenant, group, private, rest = string.match(text, '^(%S+) (%S+) (%S+) (%d)(.*)$')
      local side, bound, key = string.match(rest, '^ ([+-]):(%d+):(%x+)$')
      round = {
        index = index, id = id, tenant = tenant, group = group, private = private == '1',
        held_out = side == '+', bound = tonumber(bound), key = key,
      }
    end
    rounds[index] = round
  end
  return round
end

-- Whether the round has a slot and its tenant is below its ceiling. Each number is read once a call.
local function has_slot(round)
  local open = opens[round.id]
  if open == nil then
    open = tonumber(redis.call('HGET', P .. 'plan:open', round.index) or 0)
    opens[round.id] = open
  end
  if open < 1 then return false end
  local room = rooms[round.tenant]
  if room == nil then
    room = tonumber(redis.call('HGET', P .. 'plan:room', round.tenant) or math.huge)
    rooms[round.tenant] = room
  end
  return room >= 1
end

-- Whether the round may have the device: a job that holds out some trains on the others only, and
-- is evaluated on those. The same rule as jobs/holdout.py.
local function admits(round, device)
  if not round.key then return true end
  local hash = tonumber(string.sub(redis.sha1hex(round.key .. device), 1, 8), 16)
  return (hash < round.bound) == round.held_out
end

local function seen(round, device)
  return redis.call('SISMEMBER', P .. 'seen:' .. round.id, device) == 1
end

-- Give a slot that has_slot() found; false if the device has had this round.
local function grant(round, device, assignment)
  if redis.call('SADD', P .. 'seen:' .. round.id, device) == 0 then return false end
  opens[round.id] = opens[round.id] - 1
  rooms[round.tenant] = rooms[round.tenant] - 1
  local granted = grants[round.id]
  if not granted then
    granted = { index = round.index, tenant = round.tenant }
    grants[round.id] = granted
  end
  granted[#granted + 1] = now
  granted[#granted + 1] = assignment .. ':' .. device
  return true
end

-- Write list to a key in pieces: unpack() ends at some thousands of values.
local function in_pieces(command, key, list)
  for first = 1, #list, 1000 do
    redis.call(command, key, unpack(list, first, math.min(first + 999, #list)))
  end
end

-- Write what grant() gave; once, at the end.
local function write_grants()
  local total = 0
  for id, granted in pairs(grants) do
    local key = P .. 'pending:' .. id
    in_pieces('ZADD', key, granted)
    redis.call('EXPIRE', key, 120)
    redis.call('SADD', P .. 'touched', id)
    redis.call('HSET', P .. 'plan:open', granted.index, opens[id])
    if rooms[granted.tenant] ~= math.huge then
      redis.call('HSET', P .. 'plan:room', granted.tenant, rooms[granted.tenant])
    end
    total = total + #granted / 2
  end
  if total > 0 then redis.call('HINCRBY', P .. 'counters', 'granted', total) end
end
