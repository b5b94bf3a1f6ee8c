-- commit: the end of a turn. Whether it may still be ended says the fence alone.
local branch, version, token, fence = take(), take(), take(), tonumber(take())
local status, digest, privacy = take(), take(), take()
local output = take_draft()

local outcome = find()
if outcome == 'not_found' then return {'fenced', 0, 0} end
if outcome ~= 'ok' then return {outcome, 0, 0} end
local ref, node = refs[branch], lookup(version)
if not node then return {'fenced', 0, 0} end
local moves = status == 'completed' or status == 'incomplete'
if ref and ref.pending == version and ref.token == token and ref.fence == fence then
  if moves and meta.size + size_of(output) > LOG_BYTES then return {'full', 0, 0} end
  local parents = {}
  if node.parent ~= '' then parents[1] = node.parent end
  local seq = log('commit', version, parents, branch, status, node.fp, digest, output)
  ended(ref, moves and version or ref.head)
  used(privacy)
  return {'ok', seq, meta.gen}
end
-- A settled version has no digest: it is told apart from one that was committed as incomplete.
if node.status == status and node.digest == digest and (node.digest ~= '') == moves then
  return {'ok', node.last, meta.gen}
end
return {'fenced', 0, 0}
