-- whole: the log from its beginning, and every content there is, for the one who looks for damage.
local outcome = find()
if outcome ~= 'ok' then return {outcome} end
local entries = call('LRANGE', L, 0, -1)
local seqs = {}
for n = 1, #entries do seqs[n] = n end
return {'ok', {call('HGETALL', H), {}, '', seqs, entries, call('HGETALL', C), 0}}
