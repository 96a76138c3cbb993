-- SPDX-License-Identifier: Apache-2.0
-- wrk asks for the site's pages with a browser's headers. Argument: milliseconds between two requests of a
-- connection; 0 for as fast as it goes.

local paths = {
  "/", "/about", "/gallery", "/articles/", "/articles/baskets", "/articles/good-knives", "/articles/what-oak-costs",
  "/articles/small-kitchens", "/articles/painting-a-door", "/articles/quiet-fans", "/shop", "/search?q=oak",
}
local pause = 0
local number = 0

function init(arguments)
  pause = tonumber(arguments[1]) or 0
  wrk.headers["User-Agent"] =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36"
  wrk.headers["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
  wrk.headers["Accept-Language"] = "en-US,en;q=0.9"
  wrk.headers["Accept-Encoding"] = "gzip, deflate"
  wrk.headers["Cookie"] = "visitor=b71c"
  wrk.headers["Referer"] = "http://localhost/"
end

function delay()
  return pause
end

function request()
  number = number + 1
  return wrk.format("GET", paths[number % #paths + 1])
end
