-- settle: end the turns of one owner, or, with "" for owner, those whose lease is over. How many.
local owner = take()
if find() ~= 'ok' then return 0 end
if owner == '' then settle_overdue(); return 0 end
local late = {}
for name, ref in pairs(refs) do
  if ref.pending ~= '' and call('HGET', H, 'o:' .. name) == owner then late[#late + 1] = name end
end
table.sort(late)
for _, name in ipairs(late) do settle(refs[name]) end
return #late
