-- append: one entry without a call.
local kind, version, branch, expects, expect, head = take(), take(), take(), take() == '1', take(), take()
local moves, digest, key, fp, known = take() == '1', take(), take(), take(), tonumber(take())
local privacy, has_about, about, key_window = take(), take() == '1', take(), tonumber(take())
local parents = {}
for n = 1, tonumber(take()) do parents[n] = take() end
local create = take_create()
local entry = take_draft()

local outcome = find()
if create and meta and outcome ~= 'gone' and outcome ~= 'expired' then
  if meta.salt ~= create.salt then return {'exists'} end
  if version == '' then
    local ref = refs[branch]
    return {'ok', 1, meta.gen, ref and ref.head or '', '', 0, '', false}
  end
elseif create and not meta then
  make(create)
  outcome = 'ok'
end
if outcome ~= 'ok' then return {outcome} end
settle_overdue()

local function stands(name)
  if name == '' or name == version then return true end
  local node = lookup(name)
  return node and (node.status == 'completed' or node.status == 'incomplete')
end

local function decide()
  local again = version ~= '' and lookup(version) or nil
  if again then
    local ref = refs[again.branch]
    return {outcome = 'ok', head = ref and ref.head or '', seq = again.first}
  end
  local same = twin(fp, key ~= '' and remembered('k:' .. key))
  if same then return same end
  local ref = refs[branch]
  local stood = ref and ref.head or parents[1] or head
  if moves then
    if not ref and count > 0 and stood == '' then return {outcome = 'not_found'} end
    if ref and ref.pending ~= '' then return busy(ref, ref.pending) end
  end
  local found = ref and ref.head or ''
  if expects and expect ~= found then return {outcome = 'conflict', head = found} end
  for _, name in ipairs(parents) do
    if not stands(name) then return {outcome = 'not_found'} end
  end
  if not stands(head) or not stands(stood) then return {outcome = 'not_found'} end
  if moves and meta.size + size_of(entry) > LOG_BYTES then return {outcome = 'full', what = 'log'} end
  if not ref and moves and count >= BRANCHES then return {outcome = 'full', what = 'branches'} end
  local goes = found
  if moves then goes = head ~= '' and head or version ~= '' and version or stood end
  return {outcome = 'ok', base = stood, head = goes}
end

local done = decide()
if done.outcome ~= 'ok' then
  local loaded = false
  if done.outcome == 'conflict' then loaded = missing(expect, done.head) end
  return {done.outcome, 0, meta.gen, done.head or '', done.version or '', done.wait or 0, done.what or '', loaded}
end
local seq = done.seq
if not seq then
  keep()
  if #parents == 0 and done.base ~= '' and version ~= '' then parents[1] = done.base end
  seq = log(kind, version, parents, branch, 'completed', fp, digest, entry)
  if moves then
    local ref = refs[branch] or {name = branch, pending = '', token = '', fence = 0, till = 0, span = '0'}
    ref.head = done.head
    write_ref(ref)
  end
  if key ~= '' then remember('k:' .. key, fp, version, key_window) end
  if has_about then call('HSET', H, 'about', about) end
  used(privacy)
end
return {'ok', seq, meta.gen, done.head, version, 0, '', read(known, 0)}
