-- touch: change what is no entry. Each of about, ttl, access is preceded by whether it is meant.
local has_about, about, has_ttl, ttl, access = take() == '1', take(), take() == '1', tonumber(take()), take()
if find() ~= 'ok' then return 0 end
if has_about then call('HSET', H, 'about', about) end
if access ~= '' then call('HSET', H, 'access', access) end
if has_ttl then call('HSET', H, 'ttl', whole(ttl), 'expires', whole(ttl > 0 and now + ttl or 0)) end
return 1
