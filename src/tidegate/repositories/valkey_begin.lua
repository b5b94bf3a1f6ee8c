-- begin: duplicates, busy, base, write (CRP 5.2 steps 1 to 7).
local version, branch, parent, by_version, fork = take(), take(), take(), take() == 'version', take()
local key, fp, retry, fp_here = take(), take(), take() == '1', take() == '1'
local known, supersede, span, privacy = tonumber(take()), take() == '1', tonumber(take()), take()
local owner, token, retry_window, key_window = take(), take(), tonumber(take()), tonumber(take())
local create = take_create()
local input, settled = take_draft(), take_draft()

local outcome = find()
if meta == nil and create then make(create); outcome = 'ok' end
if outcome ~= 'ok' then return {outcome} end
settle_overdue()

local function base_of(ref, head, ends)
  local node = head ~= '' and lookup(head) or nil
  local broken = node and (ends or node.status == 'incomplete')
  if broken and node.fp ~= '' and node.fp == fp then return node.parent end -- replaced, not doubled
  if parent == '' or parent == head then return head end
  if broken and parent == node.parent then return node.parent end
  return nil
end

local function decide()
  local again = lookup(version)
  if again then
    local ref = refs[again.branch]
    if ref and ref.pending == version then
      return {outcome = 'ok', branch = again.branch, base = again.parent, again = true}
    end
    return {outcome = 'fenced', version = version}
  end
  local same = twin(fp, key ~= '' and remembered('k:' .. key), retry and fp_here and remembered('fp:' .. fp))
  if same then return same end
  local node = parent ~= '' and lookup(parent) or nil
  local name = branch
  if name == '' then name = by_version and node and node.branch or 'main' end
  local ref = refs[name]
  if not ref then
    if count > 0 then return {outcome = 'not_found'} end
    ref = {name = name, head = '', pending = '', token = '', fence = 0, till = 0, span = '0'}
  end
  by_version = by_version and parent ~= ''
  if by_version then
    local stands = node and (node.status == 'completed' or node.status == 'incomplete'
                             or (node.status == 'in_progress' and supersede and ref.pending == parent))
    if not stands then
      if node and node.status == 'in_progress' then return busy(refs[node.branch] or ref, parent) end
      return {outcome = 'not_found'}
    end
  end
  local ends = ref.pending ~= '' and supersede
  if ref.pending ~= '' and not ends and not by_version then return busy(ref, ref.pending) end
  local head = ends and ref.pending or ref.head
  local base = nil
  if ends or ref.pending == '' then base = base_of(ref, head, ends) end
  local forks = base == nil
  if forks then
    if not by_version then return {outcome = 'conflict', branch = name, head = ends and ref.head or head} end
    base = parent
  end
  if meta.size + size_of(input) > LOG_BYTES then return {outcome = 'full', what = 'log'} end
  if forks and count >= BRANCHES then return {outcome = 'full', what = 'branches'} end
  return {outcome = 'ok', branch = forks and fork or name, base = base, ends = ends and not forks}
end

local done = decide()
if done.outcome ~= 'ok' then
  local loaded = false
  if done.outcome == 'conflict' then loaded = missing(parent, done.head) end
  return {done.outcome, done.branch or '', '', done.head or '', done.version or '', done.wait or 0, done.what or '',
          0, '', 0, 0, loaded}
end
if not done.again then
  keep()
  if done.ends then settle(refs[done.branch]) end
  local ref = refs[done.branch]
  if not ref then
    ref = {name = done.branch, fence = 0}
    refs[done.branch] = ref
  end
  local parents = {}
  if done.base ~= '' then parents[1] = done.base end
  log('reserve', version, parents, ref.name, 'in_progress', fp, '', input)
  ref.head, ref.pending, ref.token, ref.fence = done.base, version, token, ref.fence + 1
  ref.till, ref.span = now + span, whole(span)
  write_ref(ref)
  if owner ~= '' then call('HSET', H, 'o:' .. ref.name, owner) end
  call('HSET', E, ref.name, cmsgpack.pack(settled))
  if fp_here then remember('fp:' .. fp, fp, version, retry_window) end
  if key ~= '' then remember('k:' .. key, fp, version, key_window) end
  used(privacy)
end
local ref = refs[done.branch]
return {'ok', done.branch, done.base, ref.head, version, 0, '', lookup(version).first, ref.token, ref.fence, ref.till,
        read(known, 0)}
