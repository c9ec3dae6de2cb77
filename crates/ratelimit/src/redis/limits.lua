-- Decides on one request against one or more limits, all or nothing, and says where each stands.
--
-- Above this stands one line that sets `now`: the server's clock, in whole microseconds.
--
-- KEYS  the state of each limit
-- ARGV  the operation: 'take' or 'refund'
--       the cost: what must be there; 0 only looks
--       the most: what is taken if it is there, at least the cost
--       for each limit: its kind and three numbers, below
--
-- Returns what was taken (0: refused, or only looked), then three numbers for each limit.
--
--   kind     numbers                            state        answer
--   gcra     units per us, units of one, burst  us + rest    units until the bucket is full
--   fixed    us of the window, limit            index, used  used, us into the window
--   counter  us of the window, limit, grain     index,       used in the last window,
--                                               last, used   used in this one, us into it
--
-- A counter weighs the last window by grains of so many us, of which the window is a whole number.
--
-- All numbers are whole and below 2^53, where Lua's doubles are exact; who calls sees to it.

local operation, cost, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

-- Whole division. The quotient of two doubles may round up to a whole number; this does not.
local function whole(n, d)
  return (n - math.fmod(n, d)) / d
end

local function numbers(state, pattern)
  local a, b, c = string.match(state or '', pattern)
  return tonumber(a), tonumber(b), tonumber(c)
end

local function put(key, pattern, us, ...)
  redis.call('SET', key, string.format(pattern, ...), 'PX', string.format('%.0f', whole(us, 1000) + 1))
end

local limits = {}

-- Each kind reads its state into a limit, says how much fits, and writes what becomes of it.

local gcra = {
  read = function(l, state)
    local full_at, rest = numbers(state, '^(%d+) (%d+)$')
    l.ahead = 0
    if full_at and full_at >= now then
      -- A clock that went back leaves a bucket empty, and not blocked until the clock is back.
      l.ahead = math.min((full_at - now) * l.a + rest, l.b * l.c)
    end
    return whole(l.b * l.c - l.ahead, l.b)
  end,
  write = function(l, change)
    l.ahead = math.max(l.ahead + change * l.b, 0)
    if l.ahead == 0 then
      redis.call('DEL', l.key)
      return
    end
    local rest = math.fmod(l.ahead, l.a)
    local us = (l.ahead - rest) / l.a
    put(l.key, '%.0f %.0f', us, now + us, rest)
  end,
  answer = function(l)
    return l.ahead, 0, 0
  end,
}

-- The window's index and how far into it we are; a clock that went back stays at its start.
local function window(l, held)
  local index, into = whole(now, l.a), math.fmod(now, l.a)
  if held and held > index then
    index, into = held, 0
  end
  l.index, l.into = index, into
end

local fixed = {
  read = function(l, state)
    local held, used = numbers(state, '^(%d+) (%d+)$')
    window(l, held)
    l.used = held == l.index and used or 0
    return l.b - l.used
  end,
  write = function(l, change)
    l.used = math.max(l.used + change, 0)
    put(l.key, '%.0f %.0f', l.a - l.into, l.index, l.used)
  end,
  answer = function(l)
    return l.used, l.into, 0
  end,
}

local counter = {
  read = function(l, state)
    local held, last, used = numbers(state, '^(%d+) (%d+) (%d+)$')
    window(l, held)
    if held == l.index then
      l.last, l.used = last, used
    elseif held == l.index - 1 then
      l.last, l.used = used, 0
    else
      l.last, l.used = 0, 0
    end
    l.into = l.into - math.fmod(l.into, l.c)
    -- The last window counts by the part of it that still lies within one length.
    local length, left = l.a / l.c, (l.a - l.into) / l.c
    return whole(math.max((l.b - l.used) * length - l.last * left, 0), length)
  end,
  write = function(l, change)
    l.used = math.max(l.used + change, 0)
    put(l.key, '%.0f %.0f %.0f', 2 * l.a - l.into, l.index, l.last, l.used)
  end,
  answer = function(l)
    return l.last, l.used, l.into
  end,
}

local kinds = { gcra = gcra, fixed = fixed, counter = counter }

local fits = most
for i, key in ipairs(KEYS) do
  local at = 4 * i
  local l = {
    key = key,
    kind = kinds[ARGV[at]],
    a = tonumber(ARGV[at + 1]),
    b = tonumber(ARGV[at + 2]),
    c = tonumber(ARGV[at + 3]),
  }
  fits = math.min(fits, l.kind.read(l, redis.call('GET', key)))
  limits[i] = l
end

local taken = 0
if operation == 'refund' then
  taken = -cost
elseif fits >= cost then
  taken = fits
end

local answer = { math.max(taken, 0) }
for _, l in ipairs(limits) do
  if taken ~= 0 then
    l.kind.write(l, taken)
  end
  for _, number in ipairs({ l.kind.answer(l) }) do
    answer[#answer + 1] = number
  end
end
return answer
