-- claim: a name, or a duplicate's key outside of its context: what is there wins, unless it is the value to be replaced.
-- KEYS[1]; value, the value to be replaced or "", milliseconds of life or 0. Answer: what is there, and what was there.
local found = redis.call('GET', KEYS[1])
if not found or found == ARGV[2] then
  if ARGV[1] == '' then redis.call('DEL', KEYS[1])
  elseif ARGV[3] == '0' then redis.call('SET', KEYS[1], ARGV[1])
  else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3]) end
  return {ARGV[1], found or ''}
end
return {found, found}
