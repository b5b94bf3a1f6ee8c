-- contents: every content of these "item rev", whatever entry it belongs to.
if find() ~= 'ok' then return {} end
local wanted, fields = {}, {}
while at < #ARGV do wanted[take()] = true end
for _, field in ipairs(call('HKEYS', C)) do
  if wanted[string.match(field, '^(%S+ %d+) ')] then fields[#fields + 1] = field end
end
return fetched(fields)
