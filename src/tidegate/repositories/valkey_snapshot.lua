-- snapshot: keep it unless there is a later one.
local upto, body = tonumber(take()), take()
if find() ~= 'ok' or upto > meta.seq then return 0 end
local kept = call('GET', S)
if kept and tonumber(string.match(kept, '^(%d+)\n')) >= upto then return 0 end
call('SET', S, whole(upto) .. '\n' .. body)
return 1
