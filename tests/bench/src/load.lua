-- What wrk sends: requests in random order, one for each line of a file. The same seed each time, so that all are sent the same.

local requests = {}
local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init(arguments)
  math.randomseed(number)
  for line in io.lines(arguments[2]) do
    if arguments[1] == "check" then
      local headers = { ["X-Auth-Bearer"] = line }
      if arguments[3] == "/forward-auth" then
        headers["X-Forwarded-Method"] = "GET"
        headers["X-Forwarded-Uri"] = "/"
      end
      requests[#requests + 1] = wrk.format("GET", arguments[3], headers)
    else
      local form = { ["Content-Type"] = "application/x-www-form-urlencoded" }
      requests[#requests + 1] = wrk.format("POST", "/login", form, line)
    end
  end
end

function request()
  return requests[math.random(#requests)]
end

function done(summary, latency)
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  local figures = { summary.requests, summary.duration, errors.status, lost, latency:percentile(50), latency:percentile(99) }
  io.write("figures ", table.concat(figures, " "), "\n")
end
