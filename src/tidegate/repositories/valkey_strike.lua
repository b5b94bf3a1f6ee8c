-- strike: all of it but a tombstone. Of a deletion, or ("1" for expired) only where its life is over.
-- Answer: outcome, now, entries, size, digests of the heads, versions and names to be forgotten in other slots.
local expired, tombstone = take() == '1', tonumber(take())
local outcome = find()
if expired then
  if meta == nil or meta.gone > 0 then return {'not_found', 0} end
  if meta.expires == 0 or meta.expires > now then return {'ok', meta.expires} end
elseif outcome ~= 'ok' then
  return {outcome, 0}
end
local names, digests = {}, {}
for name in pairs(refs) do names[#names + 1] = name end
table.sort(names)
for n, name in ipairs(names) do
  local node = refs[name].head ~= '' and lookup(refs[name].head) or nil
  digests[n] = node and node.digest or ''
end
local entries, versions, aliases = call('LLEN', L), call('HKEYS', N), call('SMEMBERS', T)
call('DEL', H, L, C, N, I, S, E, T)
call('HSET', H, 'subject', meta.subject, 'group', meta.group, 'access', meta.access, 'gone', whole(now + tombstone),
     'about', expired and 'expired' or '')
call('PEXPIREAT', H, whole(now + tombstone))
return {'struck', now, entries, meta.size, digests, versions, aliases}
