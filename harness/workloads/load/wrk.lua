-- What wrk sends, how it judges the answers and what it tells at the end: lines of "name value", and of
-- "us value count". Arguments: a seed, the connections, then for each row its weight, the whole request, the wanted status, a check
-- ("", body, contains or length) and its value.
local ffi = require("ffi")
ffi.cdef("typedef struct { uint64_t count, limit, min, max; uint64_t data[]; } stats;")  -- wrk's src/stats.h

local rows, total, threads = {}, 0, {}
connections, statuses, wrong = 0, {}, 0

function setup(thread)
  table.insert(threads, thread)
  thread:set("number", #threads)
end

function init(args)
  math.randomseed(tonumber(args[1]) + number)
  connections = tonumber(args[2])
  for i = 3, #args, 5 do
    total = total + tonumber(args[i])
    table.insert(rows, {
      upto = total, text = args[i + 1], status = tonumber(args[i + 2]), check = args[i + 3], value = args[i + 4],
    })
  end
  wrk.format = function() return rows[1].text end
  if #rows > 1 then
    request = function()
      local at = math.random() * total
      for _, row in ipairs(rows) do
        if at < row.upto then return row.text end
      end
    end
  end
end

local function right(row, body)
  if row.check == "body" then return body == row.value end
  if row.check == "contains" then return body:find(row.value, 1, true) ~= nil end
  if row.check == "length" then return #body == tonumber(row.value) end
  return true
end

-- wrk does not say which request an answer belongs to: it is right if any row wants it.
function response(status, headers, body)
  local known = false
  for _, row in ipairs(rows) do
    if status == row.status then
      if right(row, body) then return end
      known = true
    end
  end
  if known then wrong = wrong + 1 else statuses[status] = (statuses[status] or 0) + 1 end
end

-- wrk adds latencies that it thinks it missed (stats_correct in its src/wrk.c and src/stats.c): take them out again,
-- from the greatest down, so that what is told is what was seen.
local function uncorrected(stats, expected)
  for n = tonumber(stats.max), expected * 2, -1 do
    local count = stats.data[n]
    if count > 0 then
      for m = n - expected, expected + 1, -expected do
        stats.data[m] = stats.data[m] - count
      end
    end
  end
end

function done(summary, latency)
  print("OSV_HARNESS")
  print("duration", summary.duration)
  print("requests", summary.requests)
  print("bytes", summary.bytes)
  for _, kind in ipairs({"connect", "read", "write", "timeout"}) do
    print("error:" .. kind, summary.errors[kind])
  end
  for _, thread in ipairs(threads) do
    print("wrong", thread:get("wrong"))
    for status, count in pairs(thread:get("statuses")) do print("status:" .. status, count) end
  end
  local stats = ffi.cast("stats **", latency)[0]
  if stats.count == 0 then return end
  local each = math.floor(summary.requests / threads[1]:get("connections"))
  if each > 0 then uncorrected(stats, math.floor(summary.duration / each)) end
  for n = tonumber(stats.min), tonumber(stats.max) do
    if stats.data[n] > 0 then print("us", n, tonumber(stats.data[n])) end
  end
end
