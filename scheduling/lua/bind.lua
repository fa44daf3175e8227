-- bind PREFIX GROUPS SEED (DEVICE ASSIGNMENT SIGNATURE)*
-- -> {"ok", plan version, answer*} | {"stale", groups version} | {"no_epoch", ""}
-- answer: "" nothing | "!" signature in no plan | "?round,round" offer | "round" granted
local MAX_CANDIDATES = 8

local plan = redis.call('HMGET', P .. 'plan', 'version', 'groups', 'shuffled', 'merged')
if redis.call('EXISTS', P .. 'epoch') == 0 or not plan[1] then return { 'no_epoch', '' } end
if plan[2] ~= ARGV[2] then return { 'stale', plan[2] } end
local shuffled, merged = plan[3] == '1', plan[4] == '1'
if shuffled then math.randomseed(tonumber(ARGV[3])) end

-- The rounds of a signature in the plan's order, read from the queues only as far as needed.
local walks = {}

-- Let the head of heads sink to where its place is: a binary heap by place.
local function sink(heads)
  local at, head = 1, heads[1]
  while true do
    local below = 2 * at
    if below < #heads and heads[below + 1].place < heads[below].place then below = below + 1 end
    if below > #heads or heads[below].place >= head.place then break end
    heads[at] = heads[below]
    at = below
  end
  heads[at] = head
end

-- The rounds of queues that are sorted by place, least first. A signature may have thousands.
local function merge(texts)
  local heads = {}
  for _, text in ipairs(texts) do
    local pairs_of = string.gmatch(text, '(%d+) (%d+)')
    local place, index = pairs_of()
    heads[#heads + 1] = place and { place = tonumber(place), index = index, pairs_of = pairs_of }
  end
  table.sort(heads, function(one, other) return one.place < other.place end)
  return function()
    local least = heads[1]
    if not least then return nil end
    local index = least.index
    local place, following = least.pairs_of()
    if place then
      least.place, least.index = tonumber(place), following
    else
      heads[1] = heads[#heads]
      heads[#heads] = nil
    end
    if #heads > 1 then sink(heads) end
    return index
  end
end

local function walk_of(signature)
  local walk = walks[signature]
  if walk == nil then
    walk = false
    local names = redis.call('HGET', P .. 'plan:signatures', signature)
    if names then
      local queues = {}
      for name in string.gmatch(names, '%d+') do
        queues[#queues + 1] = redis.call('HGET', P .. 'plan:queues', name) or ''
      end
      local next = merged and merge(queues) or string.gmatch(table.concat(queues, ' '), '%d+')
      walk = { found = {}, first = 1, next = next }
    end
    walks[signature] = walk
  end
  return walk
end

local function fetch(walk, place)
  while #walk.found < place do
    local index = walk.next()
    if not index then return nil end
    walk.found[#walk.found + 1] = round_at(index)
  end
  return walk.found[place]
end

-- Policy `random`: a new order at each request. Shuffling what was shuffled is as good.
local function shuffle(walk)
  fetch(walk, math.huge)
  local found = walk.found
  for place = #found, 2, -1 do
    local other = math.random(place)
    found[place], found[other] = found[other], found[place]
  end
  walk.first = 1
end

local function bind(walk, device, assignment)
  if shuffled then shuffle(walk) end
  local candidates = {}
  local place = walk.first
  while #candidates < MAX_CANDIDATES do
    local round = fetch(walk, place)
    if not round then break end
    if not has_slot(round) then
      -- Slots only become fewer within a call: nobody after us needs to look here again.
      if place == walk.first then walk.first = place + 1 end
    elseif admits(round, device) then
      if #candidates > 0 or round.private then
        -- Only the device can judge the first one, so it ranks those behind it too.
        if not seen(round, device) then candidates[#candidates + 1] = round.id end
      elseif grant(round, device, assignment) then
        return round.id
      end
    end
    place = place + 1
  end
  if #candidates == 0 then return '' end
  return '?' .. table.concat(candidates, ',')
end

local answers = { 'ok', plan[1] }
local wanted = {}
for at = 4, #ARGV, 3 do
  local walk = walk_of(ARGV[at + 2])
  if walk then
    answers[#answers + 1] = bind(walk, ARGV[at], ARGV[at + 1])
  else
    answers[#answers + 1] = '!'
    wanted[#wanted + 1] = ARGV[at + 2]
  end
end
write_grants()
if #wanted > 0 then in_pieces('SADD', P .. 'wanted', wanted) end
return answers
