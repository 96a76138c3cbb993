-- What wrk counted, as one line of JSON. Only `done` is defined: the generator's loop stays in C.
done = function(summary, latency, _)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    io.write(string.format(
        '\n{"requests":%d,"seconds":%.6f,"failed":%d,"p50_ms":%.4f,"p99_ms":%.4f}\n',
        summary.requests, summary.duration / 1e6, failed,
        latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
