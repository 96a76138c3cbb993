// SPDX-License-Identifier: Apache-2.0
//! The site's answers.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::Full;

use super::super::chance::Chance;
use super::content::{ARTICLES, number_of, pictures};

type Answer = Response<Full<Bytes>>;

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// The length of the film, which players ask for in ranges.
pub(in super::super) const FILM_BYTES: usize = 3 * 1024 * 1024;

/// The password of the only account; guessers do not have it in their lists.
pub(in super::super) const PASSWORD: &str = "correct-horse-battery";

/// The key of the API's clients.
pub(in super::super) const API_KEY: &str = "Bearer pk_live_0d9f6c2e";

pub(super) fn to(parts: &Parts, body: &Bytes) -> Answer {
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or_default();
    let answer = match path.strip_prefix("/api/v1/") {
        Some(rest) => api(parts, rest, query),
        None if path.starts_with("/assets/") || path.starts_with("/images/") || path == "/favicon.ico" => {
            asset(parts, path)
        }
        None if path.starts_with("/files") => files(&parts.method),
        None => match parts.method {
            Method::GET | Method::HEAD => greeted(parts, page(parts, path, query)),
            Method::POST => form(path, body),
            Method::OPTIONS => empty(StatusCode::NO_CONTENT),
            _ => empty(StatusCode::METHOD_NOT_ALLOWED),
        },
    };
    if parts.method == Method::HEAD { without_body(answer) } else { answer }
}

pub(super) fn too_large() -> Answer {
    empty(StatusCode::PAYLOAD_TOO_LARGE)
}

fn page(parts: &Parts, path: &str, query: &str) -> Answer {
    match path {
        "/" => html(path, "House &amp; Hand", &links(0, 12)),
        "/about" => html(path, "About us", "<p>Seven people and a dog.</p>"),
        "/articles/" => html(path, "Articles", &links(0, ARTICLES.len())),
        "/gallery" => html(path, "Gallery", "<p>Twenty-four rooms.</p>"),
        "/contact" => html(path, "Contact", CONTACT_FORM),
        "/login" => html(path, "Sign in", LOGIN_FORM),
        "/logout" => redirect("/", "session=; Path=/; Max-Age=0"),
        "/account" if has_session(&parts.headers) => html(path, "Your account", "<p>Two orders.</p>"),
        "/account" | "/admin" | "/admin/" => redirect("/login", "seen=1; Path=/; Max-Age=86400"),
        "/internal/" | "/internal/reports" => error(StatusCode::FORBIDDEN, "Not for you"),
        "/search" => html(path, "Search", &results(query)),
        "/shop" => html(path, "Shop", "<div id=app></div><script src=\"/assets/shop.c41d77.js\"></script>"),
        "/healthz" => text("text/plain", "ok"),
        "/robots.txt" => text("text/plain", ROBOTS),
        "/sitemap.xml" => text("application/xml", sitemap()),
        "/feed.xml" => unchanged(parts, "\"feed-1\"").unwrap_or_else(feed),
        "/media/film.mp4" => film(&parts.headers),
        "/articles" => redirect("/articles/", "seen=1; Path=/; Max-Age=86400"),
        _ => match path.strip_prefix("/articles/").and_then(number_of) {
            Some(number) => article(path, number),
            None => error(StatusCode::NOT_FOUND, "This page has moved or never was"),
        },
    }
}

fn form(path: &str, body: &Bytes) -> Answer {
    let says = |wanted: &str| String::from_utf8_lossy(body).contains(wanted);
    match path {
        "/login" if says(PASSWORD) => {
            redirect("/account", "session=8c1f0a7be2; Path=/; HttpOnly; SameSite=Lax; Max-Age=86400")
        }
        "/login" => with_status(html(path, "Sign in", LOGIN_FORM), StatusCode::UNAUTHORIZED),
        "/contact" => redirect("/contact", "seen=1; Path=/; Max-Age=86400"),
        "/graphql" => text(JSON, r#"{"data":{"items":[{"id":1,"name":"lamp"}]}}"#),
        "/files" => empty(StatusCode::CREATED),
        _ => error(StatusCode::NOT_FOUND, "This page has moved or never was"),
    }
}

fn api(parts: &Parts, rest: &str, query: &str) -> Answer {
    let is_known = parts.headers.get("authorization").is_some_and(|value| value == API_KEY);
    match (parts.method.as_str(), rest) {
        ("GET" | "HEAD", "items") => text(JSON, items(query)),
        ("GET" | "HEAD", "status") => text(JSON, r#"{"status":"ok"}"#),
        ("GET", "me") if is_known || has_session(&parts.headers) => text(JSON, r#"{"name":"anna"}"#),
        ("GET", "me") => with_status(text(JSON, r#"{"error":"who are you"}"#), StatusCode::UNAUTHORIZED),
        ("POST", "events") => empty(StatusCode::NO_CONTENT),
        ("POST", "uploads" | "orders") => with_status(text(JSON, r#"{"id":7}"#), StatusCode::CREATED),
        ("OPTIONS", _) => empty(StatusCode::NO_CONTENT),
        ("GET" | "PUT" | "DELETE", _) => match rest.strip_prefix("items/").map(str::parse::<u32>) {
            Some(Ok(number)) if number <= 400 => text(JSON, format!("{{\"id\":{number}}}")),
            _ => with_status(text(JSON, r#"{"error":"no such thing"}"#), StatusCode::NOT_FOUND),
        },
        _ => empty(StatusCode::METHOD_NOT_ALLOWED),
    }
}

fn asset(parts: &Parts, path: &str) -> Answer {
    let extension = path.rsplit('.').next().unwrap_or_default();
    if let Some(answer) = unchanged(parts, &format!("\"{}\"", path.len())) {
        return answer;
    }
    let answer = match extension {
        "css" if path.contains("site.") => text("text/css", STYLE),
        "js" if path.contains("site.") => text("text/javascript", SITE_SCRIPT),
        "js" if path.contains("shop.") => text("text/javascript", SHOP_SCRIPT),
        "svg" => text("image/svg+xml", LOGO),
        "jpg" => bytes("image/jpeg", noise(path.len(), 24_000)),
        "woff2" => bytes("font/woff2", noise(path.len(), 18_000)),
        "ico" => bytes("image/x-icon", noise(path.len(), 1_150)),
        _ => return error(StatusCode::NOT_FOUND, "This page has moved or never was"),
    };
    with(with(answer, "cache-control", "public, max-age=3600"), "etag", &format!("\"{}\"", path.len()))
}

/// A folder that can be mounted.
fn files(method: &Method) -> Answer {
    match method.as_str() {
        "OPTIONS" => with(empty(StatusCode::OK), "dav", "1, 2"),
        "PROPFIND" => with_status(text("application/xml", DAV), StatusCode::MULTI_STATUS),
        "PUT" | "MKCOL" | "MOVE" | "COPY" => empty(StatusCode::CREATED),
        "DELETE" | "UNLOCK" => empty(StatusCode::NO_CONTENT),
        "LOCK" => text("application/xml", DAV),
        "GET" | "HEAD" => bytes("application/octet-stream", noise(7, 40_000)),
        "POST" => empty(StatusCode::CREATED),
        _ => empty(StatusCode::METHOD_NOT_ALLOWED),
    }
}

fn article(path: &str, number: usize) -> Answer {
    let next = links((number + 1) % ARTICLES.len(), 5);
    html(
        path,
        &ARTICLES[number].replace('-', " "),
        &format!("{}{next}", "<p>It was a wet spring.</p>".repeat(40)),
    )
}

/// Every page brings style, script, font and icon, as [`super::content::parts`] says.
fn html(path: &str, title: &str, main: &str) -> Answer {
    let pictures: String =
        pictures(path).iter().map(|picture| format!("<img src=\"{picture}\" alt=\"\">")).collect();
    text(HTML, format!("{HEAD}<title>{title}</title>{NAVIGATION}<h1>{title}</h1>{main}{pictures}{FOOT}"))
}

fn error(status: StatusCode, says: &str) -> Answer {
    with_status(html("/error", says, "<p><a href=\"/\">To the first page</a></p>"), status)
}

fn links(first: usize, count: usize) -> String {
    let link = |slug: &&str| format!("<li><a href=\"/articles/{slug}\">{}</a>", slug.replace('-', " "));
    ARTICLES.iter().cycle().skip(first).take(count).map(link).collect()
}

/// The words that were looked for, made harmless, and some articles.
fn results(query: &str) -> String {
    let words = query.split('&').find_map(|pair| pair.strip_prefix("q=")).unwrap_or_default();
    let words = words.replace(|letter: char| !letter.is_ascii_alphanumeric(), " ");
    let found = if words.is_empty() { String::new() } else { links(words.len(), 6) };
    format!("{SEARCH_FORM}<p>Looked for: {words}</p>{found}")
}

fn items(query: &str) -> String {
    let page =
        query.split('&').find_map(|pair| pair.strip_prefix("page=")).and_then(|page| page.parse().ok());
    let first: u64 = page.unwrap_or(1_u64).min(20) * 20;
    let items: Vec<_> =
        (first..first + 20).map(|id| format!("{{\"id\":{id},\"name\":\"item {id}\"}}")).collect();
    format!("{{\"items\":[{}]}}", items.join(","))
}

fn sitemap() -> String {
    let entries: String =
        ARTICLES.iter().map(|slug| format!("<url><loc>/articles/{slug}</loc></url>")).collect();
    format!("<?xml version=\"1.0\"?><urlset>{entries}</urlset>")
}

fn feed() -> Answer {
    let entries: String =
        ARTICLES.iter().take(15).map(|slug| format!("<entry><id>{slug}</id></entry>")).collect();
    let feed = format!("<?xml version=\"1.0\"?><feed xmlns=\"http://www.w3.org/2005/Atom\">{entries}</feed>");
    with(text("application/atom+xml", feed), "etag", "\"feed-1\"")
}

/// The whole film, or the range of it.
fn film(headers: &HeaderMap) -> Answer {
    let range = headers.get("range").and_then(|value| value.to_str().ok()).and_then(range_of);
    let Some((first, last)) = range else {
        return with(bytes("video/mp4", noise(1, FILM_BYTES)), "accept-ranges", "bytes");
    };
    let answer = bytes("video/mp4", noise(first, last + 1 - first));
    let answer = with(answer, "content-range", &format!("bytes {first}-{last}/{FILM_BYTES}"));
    with_status(answer, StatusCode::PARTIAL_CONTENT)
}

/// `bytes=FIRST-LAST`, inside the film, at most a megabyte.
fn range_of(value: &str) -> Option<(usize, usize)> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.parse().ok()?;
    let last = last.parse().unwrap_or(FILM_BYTES - 1).min(FILM_BYTES - 1).min(first.saturating_add(1 << 20));
    (first <= last).then_some((first, last))
}

/// 304 for who has it.
fn unchanged(parts: &Parts, etag: &str) -> Option<Answer> {
    let has_it = parts.headers.get("if-none-match").is_some_and(|value| value == etag);
    has_it.then(|| with(empty(StatusCode::NOT_MODIFIED), "etag", etag))
}

fn has_session(headers: &HeaderMap) -> bool {
    let lines = headers.get_all("cookie").iter().filter_map(|value| value.to_str().ok());
    lines.into_iter().any(|line| line.contains("session=8c1f0a7be2"))
}

/// Who comes without a cookie gets one with his first page.
fn greeted(parts: &Parts, answer: Answer) -> Answer {
    let is_page = answer.headers().get("content-type").is_some_and(|value| value == HTML);
    if parts.headers.contains_key("cookie") || !is_page {
        return answer;
    }
    with(answer, "set-cookie", "visitor=b71c; Path=/; SameSite=Lax; Max-Age=86400")
}

fn redirect(to: &str, cookie: &str) -> Answer {
    with(with(empty(StatusCode::SEE_OTHER), "location", to), "set-cookie", cookie)
}

/// Bytes without meaning, the same for the same seed.
fn noise(seed: usize, length: usize) -> Vec<u8> {
    let mut chance = Chance::new(seed as u64);
    let words = (0..length.div_ceil(2)).flat_map(|_| [chance.below(256), 0x5a]);
    words.take(length).map(|byte| u8::try_from(byte).unwrap_or_default()).collect()
}

fn text(media_type: &'static str, body: impl Into<String>) -> Answer {
    bytes(media_type, body.into().into_bytes())
}

fn bytes(media_type: &'static str, body: Vec<u8>) -> Answer {
    with(Response::new(Full::from(body)), "content-type", media_type)
}

fn empty(status: StatusCode) -> Answer {
    with_status(Response::new(Full::default()), status)
}

fn with_status(mut answer: Answer, status: StatusCode) -> Answer {
    *answer.status_mut() = status;
    answer
}

fn with(mut answer: Answer, name: &'static str, value: &str) -> Answer {
    if let Ok(value) = value.parse() {
        answer.headers_mut().append(name, value);
    }
    answer
}

fn without_body(mut answer: Answer) -> Answer {
    *answer.body_mut() = Full::default();
    answer
}

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
    <meta name=viewport content=\"width=device-width, initial-scale=1\">\
    <link rel=stylesheet href=\"/assets/site.3f2a9c.css\">\
    <link rel=icon href=\"/favicon.ico\">\
    <link rel=alternate type=\"application/atom+xml\" href=\"/feed.xml\">\
    <script defer src=\"/assets/site.81b0d4.js\"></script>";

const NAVIGATION: &str = "<header><a href=\"/\"><img src=\"/assets/logo.svg\" alt=\"House &amp; Hand\"></a><nav>\
    <a href=\"/articles/\">Articles</a> <a href=\"/gallery\">Gallery</a> <a href=\"/shop\">Shop</a> \
    <a href=\"/about\">About</a> <a href=\"/contact\">Contact</a> <a href=\"/search\">Search</a> \
    <a href=\"/login\">Sign in</a></nav></header><main>";

const FOOT: &str = "</main><footer><p>House &amp; Hand, since 1998</p></footer></html>";

const SEARCH_FORM: &str =
    "<form action=\"/search\"><input name=q id=q type=search><button>Search</button></form>";

const LOGIN_FORM: &str = "<form method=post action=\"/login\"><input name=name><input name=password type=password>\
    <button>Sign in</button></form>";

const CONTACT_FORM: &str = "<form method=post action=\"/contact\"><input name=email type=email>\
    <textarea name=message></textarea><button>Send</button></form>";

const ROBOTS: &str =
    "User-agent: *\nDisallow: /internal/\nDisallow: /account\nCrawl-delay: 1\nSitemap: /sitemap.xml\n";

const LOGO: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"96\" height=\"32\">\
    <path d=\"M0 16 16 0l16 16v16H0z\"/></svg>";

const STYLE: &str = "@font-face{font-family:Inter;src:url(/assets/inter-regular.woff2) format(\"woff2\")}\
    body{font:16px Inter,sans-serif;max-width:60rem;margin:auto}img{max-width:12rem;min-height:2rem}";

/// Each page tells that it was seen.
const SITE_SCRIPT: &str = "navigator.sendBeacon('/api/v1/events',JSON.stringify({seen:location.pathname}));";

/// The shop is an application: it asks for everything at once.
const SHOP_SCRIPT: &str = "fetch('/api/v1/me').catch(()=>0);\
    for(let page=1;page<=6;page++)fetch('/api/v1/items?page='+page).then(answer=>answer.json()).then(list=>{\
    for(const item of list.items.slice(0,4))fetch('/api/v1/items/'+item.id)})";

const DAV: &str = "<?xml version=\"1.0\"?><d:multistatus xmlns:d=\"DAV:\"><d:response><d:href>/files/</d:href>\
    <d:propstat><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>";
