-- numbered: templates and tenant keys. KEYS[1]; number (0: the latest), whether to put, body, whether 0 is the next one.
-- A number that is taken keeps what it has.
local latest = tonumber(redis.call('HGET', KEYS[1], 'latest') or '0')
local n = tonumber(ARGV[1])
if ARGV[2] == '1' then
  if n == 0 then n = (ARGV[4] == '1' or latest == 0) and latest + 1 or latest end
  redis.call('HSETNX', KEYS[1], tostring(n), ARGV[3])
  if n > latest then redis.call('HSET', KEYS[1], 'latest', tostring(n)) end
elseif n == 0 then
  n = latest
end
return redis.call('HGET', KEYS[1], tostring(n))
