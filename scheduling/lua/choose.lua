-- choose PREFIX (DEVICE ASSIGNMENT SIGNATURE N RANKED*N M REFUSED*M)* -> {plan version, answer*}
-- answer: "" nothing | "round" granted
local version = redis.call('HGET', P .. 'plan', 'version')
if redis.call('EXISTS', P .. 'epoch') == 0 then version = false end

local function find(id)
  local index = redis.call('HGET', P .. 'plan:numbers', id)
  return index and round_at(index)
end

-- A device may only choose what its signature could have been offered.
local function choose(device, assignment, signature, first, last)
  for at = first, last do
    local round = find(ARGV[at])
    if round and string.find(signature, round.group, 1, true) and has_slot(round)
      and admits(round, device) and grant(round, device, assignment) then
      return round.id
    end
  end
  return ''
end

local answers = { version or '0' }
local at = 2
while at <= #ARGV do
  local ranked = tonumber(ARGV[at + 3])
  local refused_at = at + 4 + ranked
  local refused = tonumber(ARGV[refused_at])
  local answer = ''
  if version then
    answer = choose(ARGV[at], ARGV[at + 1], ARGV[at + 2], at + 4, refused_at - 1)
    for other = refused_at + 1, refused_at + refused do
      local round = find(ARGV[other])
      if round then redis.call('SADD', P .. 'seen:' .. round.id, ARGV[at]) end
    end
  end
  answers[#answers + 1] = answer
  at = refused_at + refused + 1
end
write_grants()
return answers
