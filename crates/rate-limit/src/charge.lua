-- Charges each window by one if all of them allow it. A window is the text `slice=charged slice=charged …`.
-- KEYS: the windows. ARGV: how many slices make a window; then for each key the length of a slice in milliseconds and the quota.
-- Answers whether it was allowed, the time in milliseconds, and the windows as they are now.
local slices = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local windows, refused = {}, 0
for i, key in ipairs(KEYS) do
    local width, quota = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
    local current = math.floor(now / width)
    local window = { current = current, charged = 0, past = {}, expiry = (current + slices + 1) * width - now }
    local used = 0
    for slice, charged in string.gmatch(redis.call('GET', key) or '', '(%d+)=(%d+)') do
        slice, charged = tonumber(slice), tonumber(charged)
        if slice >= current then
            -- The future, where another Redis with a faster clock was in charge, is now.
            window.charged = window.charged + charged
            used = used + charged
        elseif slice >= current - slices then
            table.insert(window.past, string.format('%d=%d', slice, charged))
            used = used + charged
        end
    end
    if used >= quota then
        refused = 1
    end
    windows[i] = window
end

local texts = {}
for i, key in ipairs(KEYS) do
    local window = windows[i]
    window.charged = window.charged + 1 - refused
    if window.charged > 0 then
        table.insert(window.past, string.format('%d=%d', window.current, window.charged))
    end
    texts[i] = table.concat(window.past, ' ')
    if refused == 0 then
        redis.call('SET', key, texts[i], 'PX', window.expiry)
    end
end
return { 1 - refused, now, texts }
