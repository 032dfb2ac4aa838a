-- Sends requests prepared beforehand, so that wrk measures the server and not the signer.
-- Arguments: method, file of presigned targets, body bytes, number of wrk threads, "once" or "cycle".

local started = 0

function setup(thread)
    thread:set("id", started)
    started = started + 1
end

function init(args)
    local method, file, bytes, threads = args[1], args[2], tonumber(args[3]), tonumber(args[4])
    once = args[5] == "once"
    targets, at = {}, 0
    local number = 0
    for line in io.lines(file) do
        if number % threads == id then targets[#targets + 1] = line end
        number = number + 1
    end
    before = method .. " "
    after = " HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port .. "\r\n"
    if method == "PUT" then
        after = after .. "Content-Length: " .. bytes .. "\r\n\r\n" .. string.rep("0123456789abcdef", bytes / 16)
    else
        after = after .. "\r\n"
    end
end

function request()
    at = at + 1
    if at > #targets then
        -- A new key is new only once: better to stop early than to measure overwrites.
        if once then wrk.thread:stop() end
        at = 1
    end
    return before .. targets[at] .. after
end

function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format(
        "\nRESULT %d %d %d %d %d %d %d\n", summary.requests, summary.duration, summary.bytes, latency:percentile(50),
        latency:percentile(99), e.status, e.connect + e.read + e.write + e.timeout
    ))
end
