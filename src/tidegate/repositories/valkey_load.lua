-- load: what a reader lacks, of one moment.
local known, limit, whole_log = tonumber(take()), tonumber(take()), take() == '1'
local outcome = find()
if outcome ~= 'ok' then return {outcome} end
return {'ok', read(known, limit, whole_log)}
