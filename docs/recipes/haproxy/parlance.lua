-- /etc/haproxy/parlance.lua: `http-request lua.parlance` sets the identity headers of parlance's answer and the variable `txn.parlance`, or
-- answers as parlance does. HAProxy goes on after an error in this file, so haproxy.cfg lets a request pass by that variable alone.

local FORWARD_AUTH = "http://127.0.0.1:8081/forward-auth"
local IDENTITY = { "x-auth-user", "x-auth-user-id", "x-auth-roles", "x-auth-dialect", "x-auth-session", "x-auth-assertion" }
-- HAProxy's HTTP client ends the whole program when its request has more than 101 headers.
local MOST = 80
-- The headers of a refusal that the client gets.
local TOLD = { "www-authenticate", "retry-after", "content-type", "cache-control" }
-- Headers of the client's connection, and headers that only the proxy may set.
local OWN = {
    ["host"] = true, ["connection"] = true, ["keep-alive"] = true, ["content-length"] = true, ["transfer-encoding"] = true,
    ["te"] = true, ["trailer"] = true, ["upgrade"] = true, ["expect"] = true, ["proxy-connection"] = true,
    ["x-original-method"] = true, ["x-original-uri"] = true, ["x-forwarded-method"] = true, ["x-forwarded-uri"] = true,
    ["x-forwarded-host"] = true, ["x-forwarded-for"] = true, ["x-forwarded-proto"] = true,
}

local function all(values)
    local list = {}
    for _, value in pairs(values) do
        list[#list + 1] = value
    end
    return list
end

-- The headers of the request to parlance; nil if the client sent too many headers.
local function asked(txn)
    local headers, count = {}, 0
    for name, values in pairs(txn.http:req_get_headers()) do
        if not OWN[name] then
            headers[name] = all(values)
            count = count + #headers[name]
        end
    end
    if count > MOST then
        return nil
    end
    headers["x-forwarded-method"] = { txn.f:method() }
    headers["x-forwarded-uri"] = { txn.f:pathq() }
    headers["x-forwarded-host"] = { txn.f:req_fhdr("host") or "" }
    headers["x-forwarded-for"] = { txn.f:src() }
    headers["x-forwarded-proto"] = { txn.f:ssl_fc() == 1 and "https" or "http" }
    return headers
end

local function refuse(txn, status, headers, body)
    local reply = txn:reply({ status = status })
    for _, name in ipairs(TOLD) do
        for _, value in pairs(headers[name] or {}) do
            reply:add_header(name, value)
        end
    end
    reply:set_body(body or "")
    txn:done(reply)
end

core.register_action("parlance", { "http-req" }, function(txn)
    local headers = asked(txn)
    if not headers then
        refuse(txn, 431, {})
        return
    end
    local answer = core.httpclient():get({ url = FORWARD_AUTH, headers = headers, timeout = 20000 })
    local status = answer and answer.status or 0
    if status == 200 then
        for _, name in ipairs(IDENTITY) do
            for _, value in pairs(answer.headers[name] or {}) do
                txn.http:req_set_header(name, value)
            end
        end
        txn:set_var("txn.parlance", "passed")
    elseif status >= 400 and status < 500 or (status == 503 and answer.headers["retry-after"]) then
        refuse(txn, status, answer.headers, answer.body)
    else
        refuse(txn, 503, { ["retry-after"] = { "1" } })
    end
end)
