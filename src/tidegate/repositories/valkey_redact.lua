-- redact: destroy every revision of these items, drop the snapshot, note it, raise gen.
local entry = take_draft()
if find() ~= 'ok' then return -1 end
local items, struck, freed = {}, 0, 0
while at < #ARGV do items[take()] = true end
for _, field in ipairs(call('HKEYS', C)) do
  if items[string.match(field, '^(%S+) ')] then
    freed = freed + call('HSTRLEN', C, field) - 3
    struck = struck + 1
    call('HDEL', C, field)
  end
end
local endings = call('HGETALL', E)
for n = 1, #endings, 2 do
  local draft = cmsgpack.unpack(endings[n + 1])
  local kept = {}
  for _, payload in ipairs(draft.payloads) do
    if not items[payload.item] then kept[#kept + 1] = payload end
  end
  call('HSET', E, endings[n], cmsgpack.pack({body = draft.body, payloads = kept}))
end
call('DEL', S)
meta.size = meta.size - freed
meta.gen = meta.gen + 1
call('HSET', H, 'gen', whole(meta.gen))
log('control', '', {}, '', 'completed', '', '', entry)
return struck
