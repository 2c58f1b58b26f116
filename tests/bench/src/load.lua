-- The requests that wrk sends: those of a file, one a line, in random order or in the order of the file. The seed is
-- fixed, so that every target gets the same requests. Each thread has lines of its own.

local requests = {}
local threads = 0
local at = 0
local pause = 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init(arguments)
  local file, of, order, started = arguments[1], tonumber(arguments[2]), arguments[3], arguments[5]
  pause = tonumber(arguments[4])
  math.randomseed(number)
  local line_number = 0
  for line in io.lines(file) do
    line_number = line_number + 1
    if line_number % of == number % of then
      requests[#requests + 1] = (line:gsub("\1", "\r\n"))
    end
  end
  if order == "once" then
    request = function()
      at = at % #requests + 1
      return requests[at]
    end
  else
    request = function() return requests[math.random(#requests)] end
  end
  if number == of then
    io.open(started, "w"):close()
  end
  wait_for(started)
  if pause > 0 then
    delay = function() return math.random(0, 2 * pause) end
  end
end

-- wrk starts a thread before the next one has read its requests, and measures the time from the start of the last
-- thread. An early thread waits: its answers until then would count, and the time would not.
function wait_for(file)
  local next_request = request
  local calls = 0
  request = function()
    calls = calls + 1
    -- The first call of the first thread is a probe of wrk itself, which inspects the request.
    if number > 1 or calls > 1 then
      while not io.open(file) do end
      request = next_request
    end
    return next_request()
  end
end

function done(summary, latency)
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  local figures = { summary.requests, summary.duration, errors.status, lost, latency:percentile(50), latency:percentile(99) }
  io.write("figures ", table.concat(figures, " "), "\n")
end
