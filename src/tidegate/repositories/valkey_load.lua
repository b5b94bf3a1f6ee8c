-- load: what a reader lacks, of one moment.
local known, limit = tonumber(take()), tonumber(take())
local outcome = find()
if outcome ~= 'ok' then return {outcome} end
return {'ok', read(known, limit)}
