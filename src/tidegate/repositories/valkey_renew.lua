-- renew: the same lease for as long again; 0 when it is no longer ours.
local branch, version, token, fence = take(), take(), take(), tonumber(take())
local settled = take() == '1' and take_draft() or nil
if find() ~= 'ok' then return 0 end
local ref = refs[branch]
if not ref or ref.pending ~= version or ref.token ~= token or ref.fence ~= fence then return 0 end
if settled then call('HSET', E, branch, cmsgpack.pack(settled)) end
ref.till = now + tonumber(ref.span)
write_ref(ref)
return ref.till
