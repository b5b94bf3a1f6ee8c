-- What every script begins with: the keys of one context (one slot), its state, and the steps of CRP 5.2 that several
-- calls take. The decisions are those of rules/context_begin, which the suite of the stores holds them to.
--
--   H  hash: what the context is; r:<branch> its refs, o:<branch> whose turn it is
--   L  list: entries in order, seq = place; a line of what the store decided, then the body
--   C  hash: "item rev seq" -> content: 3 bytes of lengths, nonce, wrapped key, body
--   N  hash: version -> branch parent status fp digest first last
--   I  hash: k:<key>, fp:<hex> -> until fp version
--   S  string: the snapshot, its seq in the first line      E  hash: branch -> what ends its turn
--   T  set: names that mean this context
local H, L, C, N, I, S, E, T = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local call = redis.call
local clock = call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local CLASSES = {public = 1, internal = 2, personal = 3, sensitive = 4, secret = 5}
local LOG_BYTES, BRANCHES, MISSING, MISSING_BYTES = 67108864, 64, 100, 262144

local at = 0
local function take() at = at + 1; return ARGV[at] end
local function whole(number) return string.format('%.0f', number) end
local function dashed(text) if text == '' then return '-' end return text end
local function bare(text) if text == '-' then return '' end return text end

-- The asker comes first in every call.
local asker = {all = take() == '1', subject = take(), group = take()}

local function take_draft()
  local draft = {body = take(), payloads = {}}
  for n = 1, tonumber(take()) do
    draft.payloads[n] = {item = take(), rev = take(), value = take()}
  end
  return draft
end

local function size_of(draft)
  local size = #draft.body
  for _, payload in ipairs(draft.payloads) do size = size + #payload.value - 3 end
  return size
end

-- -- state ------------------------------------------------------------------------------------------------------------

local meta, refs, count = nil, {}, 0

local function read_state()
  local flat = call('HGETALL', H)
  if #flat == 0 then return end
  meta = {}
  for n = 1, #flat, 2 do
    local name, value = flat[n], flat[n + 1]
    local mark = string.sub(name, 1, 2)
    if mark == 'r:' then
      local head, pending, token, fence, till, span = string.match(value, '^(%S+) (%S+) (%S+) (%d+) (%d+) (%d+)$')
      local branch = string.sub(name, 3)
      refs[branch] = {name = branch, head = bare(head), pending = bare(pending), token = bare(token),
                      fence = tonumber(fence), till = tonumber(till), span = span}
      count = count + 1
    elseif mark ~= 'o:' then
      meta[name] = value
    end
  end
  for _, name in ipairs({'seq', 'gen', 'created', 'expires', 'ttl', 'size', 'gone'}) do
    meta[name] = tonumber(meta[name] or '0')
  end
end

local function write_ref(ref)
  call('HSET', H, 'r:' .. ref.name, table.concat({dashed(ref.head), dashed(ref.pending), dashed(ref.token),
       whole(ref.fence), whole(ref.till), ref.span}, ' '))
end

local function sees()
  if asker.all or meta.access == 'tenant' then return true end
  if meta.access == 'group' then return asker.group ~= '' and asker.group == meta.group end
  return asker.subject == meta.subject
end

local function find()
  read_state()
  if meta == nil then return 'not_found' end
  if not sees() then return 'not_found' end
  if meta.gone > 0 then return meta.about == 'expired' and 'expired' or 'gone' end
  if meta.expires > 0 and meta.expires <= now then return 'expired' end
  return 'ok'
end

-- What makes the context should there be none: written only with the first entry.
local function take_create()
  if take() == '0' then return nil end
  return {subject = take(), group = take(), access = take(), privacy = take(), salt = take(), dek = take(),
          ttl = tonumber(take()), sliding = take(), about = take()}
end

local function make(create)
  meta = create
  meta.seq, meta.gen, meta.created, meta.expires, meta.size, meta.gone = 0, 0, now, 0, 0, 0
  meta.new = true
end

local function keep()
  if not meta.new then return end
  call('HSET', H, 'subject', meta.subject, 'group', meta.group, 'access', meta.access, 'privacy', meta.privacy,
       'salt', meta.salt, 'dek', meta.dek, 'seq', '0', 'gen', '0', 'created', whole(now), 'expires', '0',
       'ttl', whole(meta.ttl), 'sliding', meta.sliding, 'size', '0', 'about', meta.about)
  meta.new = nil
end

local function lookup(version)
  local line = call('HGET', N, version)
  if not line then return nil end
  local branch, parent, status, fp, digest, first, last =
    string.match(line, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%d+) (%d+)$')
  return {branch = bare(branch), parent = bare(parent), status = status, fp = bare(fp), digest = bare(digest),
          first = tonumber(first), last = tonumber(last)}
end

-- -- writing ----------------------------------------------------------------------------------------------------------

local function log(kind, version, parents, branch, status, fp, digest, draft)
  local seq = meta.seq + 1
  local names = {}
  for n, payload in ipairs(draft.payloads) do
    names[n] = payload.item .. ':' .. payload.rev
    call('HSET', C, payload.item .. ' ' .. payload.rev .. ' ' .. seq, payload.value)
  end
  call('RPUSH', L, table.concat({kind, dashed(version), dashed(table.concat(parents, ',')), dashed(branch), status,
       dashed(fp), dashed(digest), whole(now), dashed(table.concat(names, ','))}, ' ') .. '\n' .. draft.body)
  if version ~= '' then
    local node = lookup(version)
    local first = node and node.first or seq
    call('HSET', N, version, table.concat({dashed(branch), dashed(parents[1] or ''), status, dashed(fp),
         dashed(digest), whole(first), whole(seq)}, ' '))
  end
  meta.seq = seq
  meta.size = meta.size + size_of(draft)
  call('HSET', H, 'seq', whole(seq), 'size', whole(meta.size))
  return seq
end

local function ended(ref, head)
  ref.head, ref.pending, ref.token, ref.till = head, '', '', 0
  write_ref(ref)
  call('HDEL', H, 'o:' .. ref.name)
  call('HDEL', E, ref.name)
end

local function settle(ref)
  local node = lookup(ref.pending)
  local parents = {}
  if node.parent ~= '' then parents[1] = node.parent end
  local packed = call('HGET', E, ref.name)
  log('commit', ref.pending, parents, ref.name, 'incomplete', node.fp, '', cmsgpack.unpack(packed))
  ended(ref, ref.pending)
end

local function settle_overdue()
  local late = {}
  for name, ref in pairs(refs) do
    if ref.pending ~= '' and ref.till <= now then late[#late + 1] = name end
  end
  table.sort(late)
  for _, name in ipairs(late) do settle(refs[name]) end
end

local function used(privacy)
  if CLASSES[privacy] > CLASSES[meta.privacy] then meta.privacy = privacy end
  if meta.ttl > 0 and (meta.sliding == '1' or meta.expires == 0) then meta.expires = now + meta.ttl end
  call('HSET', H, 'privacy', meta.privacy, 'expires', whole(meta.expires))
end

-- Duplicates, by key or fingerprint, of this context's own scope.
local function remembered(name)
  local line = call('HGET', I, name)
  if not line then return nil end
  local till, fp, version = string.match(line, '^(%d+) (%S+) (%S+)$')
  return {till = tonumber(till), fp = bare(fp), version = bare(version)}
end

local function remember(name, fp, version, span)
  call('HSET', I, name, whole(now + span) .. ' ' .. dashed(fp) .. ' ' .. dashed(version))
  if meta.seq % 64 == 0 then
    local flat = call('HGETALL', I)
    for n = 1, #flat, 2 do
      if tonumber(string.match(flat[n + 1], '^%d+')) <= now then call('HDEL', I, flat[n]) end
    end
  end
end

-- Step 3: the same turn in flight or complete; nil for none, or for one that came to nothing.
local function twin(fp, first, second)
  for n = 1, 2 do
    local known = n == 1 and first or n == 2 and second or nil
    if known and known.till > now then
      local node = known.version ~= '' and lookup(known.version) or nil
      if known.version == '' or node then
        if known.fp ~= fp then return {outcome = 'mismatch'} end
        if not node then return {outcome = 'replay'} end
        if node.status == 'in_progress' then
          return {outcome = 'attach', version = known.version, branch = node.branch}
        elseif node.status == 'completed' then
          return {outcome = 'replay', version = known.version, branch = node.branch}
        end
        return nil
      end
    end
  end
  return nil
end

local function busy(ref, version)
  return {outcome = 'busy', branch = ref.name, head = ref.head, version = version,
          wait = math.min(math.max(ref.till - now, 1), 2000)}
end

-- -- reading ----------------------------------------------------------------------------------------------------------

local function fields_of(line, seq, found)
  local names = string.match(line, '^%S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ (%S+)\n')
  if names == '-' then return end
  for item, rev in string.gmatch(names, '([^:,]+):(%d+)') do found[#found + 1] = item .. ' ' .. rev .. ' ' .. seq end
end

local function fetched(fields)
  local found = {}
  for from = 1, #fields, 500 do
    local upto = math.min(from + 499, #fields)
    local values = call('HMGET', C, unpack(fields, from, upto))
    for n = from, upto do
      local value = values[n - from + 1]
      if value then found[#found + 1] = fields[n]; found[#found + 1] = value end
    end
  end
  return found
end

-- Answer: state, names, snapshot or '', seq before the first entry, entries, contents, truncated.
local function read(known, limit, whole_log)
  local total = call('LLEN', L)
  local snapshot, after = '', math.max(known, 0)
  local kept = not whole_log and call('GET', S)
  if kept then
    local upto = tonumber(string.match(kept, '^(%d+)\n'))
    if known < upto then snapshot, after = kept, upto end
  end
  local last = -1
  local truncated = limit > 0 and total - after > limit
  if truncated then last = after + limit - 1 end
  local entries = call('LRANGE', L, after, last)
  local payloads
  if snapshot ~= '' then
    payloads = {}
    local flat = call('HGETALL', C)
    for n = 1, #flat, 2 do
      if tonumber(string.match(flat[n], ' (%d+)$')) <= after + #entries then
        payloads[#payloads + 1] = flat[n]; payloads[#payloads + 1] = flat[n + 1]
      end
    end
  else
    local fields = {}
    for n, line in ipairs(entries) do fields_of(line, after + n, fields) end
    payloads = fetched(fields)
  end
  local seqs = {}
  for n = 1, #entries do seqs[n] = after + n end
  return {call('HGETALL', H), call('SMEMBERS', T), snapshot, seqs, entries, payloads, truncated and 1 or 0}
end

-- The entries after parent on the way to head, within bounds.
local function missing(parent, head)
  local chain, version = {}, head
  while version ~= parent do
    local node = version ~= '' and #chain < MISSING and lookup(version) or nil
    if not node then chain = nil; break end
    chain[#chain + 1] = node
    version = node.parent
  end
  local wanted, seqs, entries, payloads, left = {}, {}, {}, {}, MISSING_BYTES
  local truncated = chain == nil
  for _, node in ipairs(chain or {}) do
    wanted[#wanted + 1] = node.first
    if node.last ~= node.first then wanted[#wanted + 1] = node.last end
  end
  table.sort(wanted)
  for _, seq in ipairs(wanted) do
    local line = call('LINDEX', L, seq - 1)
    local fields = {}
    fields_of(line, seq, fields)
    local contents = fetched(fields)
    left = left - (#line - string.find(line, '\n', 1, true))
    for n = 2, #contents, 2 do left = left - (#contents[n] - 3) end
    if left < 0 then truncated = true; break end
    seqs[#seqs + 1] = seq
    entries[#entries + 1] = line
    for _, part in ipairs(contents) do payloads[#payloads + 1] = part end
  end
  return {call('HGETALL', H), call('SMEMBERS', T), '', seqs, entries, payloads, truncated and 1 or 0}
end
