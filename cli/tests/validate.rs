// SPDX-License-Identifier: Apache-2.0
//! Every kind of wrong configuration gets its precise message and exit code 2.

use sunbeam_testkit::{TestFolder, TestUpstream};

use crate::program::{run, told};

fn validate(text: &str) -> (i32, String) {
    let folder = TestFolder::new();
    let path = folder.write("c.toml", text).display().to_string();
    let (code, out, err) = told(&run(&folder, &["validate", "--offline", &path]));
    (code, format!("{out}{err}").replace(&path, "c.toml"))
}

#[test]
fn each_mistake_has_its_place_its_key_and_its_remedy() {
    for (text, want) in [
        (
            "[limits]\nmax_header = 1\n",
            "c.toml:2:1: `limits.max_header`: unknown key; did you mean `max_headers`?",
        ),
        ("[limts]\n", "c.toml:1:2: `limts`: unknown key; did you mean `limits`?"),
        (
            "[limits]\nmax_headers = \"x\"\n",
            "c.toml:2:15: `limits.max_headers`: expected a whole number, found a string",
        ),
        ("[limits]\nmax_headers = -1\n", "`limits.max_headers`: -1 is out of range"),
        ("[limits]\nkeepalive_secs = 0\n", "`limits.keepalive_secs`: 0 is out of range: 1 to 86400"),
        ("[listen]\nhttp3 = true\n", "c.toml:2:1: `listen.http3`: not supported yet"),
        ("[listen]\nproxy_protocol_from = [\"x\"]\n", "`x` is not an address range"),
        ("[listen]\nhttp = \"80\"\n", "`listen.http`: `80` is not an address with a port"),
        (
            "[listen]\nhttp = [\"0.0.0.0:80\", \"0.0.0.0:80\"]\n",
            "0.0.0.0:80 is taken by `listen.http` already",
        ),
        ("[listen]\nhttp = []\nhttps = []\n", "neither `http` nor `https` has an address"),
        ("[listen]\ntrusted_proxies = [\"10.0.0.1/8\"]\n", "did you mean `10.0.0.0/8`?"),
        (
            "[ddos]\nmin_events = 2000\n",
            "`ddos.min_events`: 2000 can never be reached: the window keeps 1000",
        ),
        ("[detection]\nblock_page = \"x\"\n", "`detection.block_page`: not supported yet"),
        (
            "[ddos]\nmodel = \"/no/such.model\"\n",
            "`ddos.model`: `/no/such.model` cannot be used: No such file",
        ),
        (
            "[ddos]\nblock_secs = 100\nmax_block_secs = 10\n",
            "`ddos.max_block_secs`: is less than `ddos.block_secs`",
        ),
        ("[detection]\nmode = \"on\"\n", "`on` is not one of `auto`, `enforce`, `observe`"),
        ("[bots]\nsearch = \"no\"\n", "`no` is not one of `allow`, `limit`, `deny`"),
        ("[bots]\nresolvers = [\"dns\"]\n", "`dns` is not an address like `192.0.2.53:53`"),
        ("[[scanner.allowlist]]\nreason = \"x\"\n", "`scanner.allowlist[0].ua_prefix`: is empty"),
        ("[lists]\nblock = [\"192.0.2.1/24\"]\n", "did you mean `192.0.2.0/24`?"),
        ("[rate_limit.unauthenticated]\nrate = 0\n", "`rate_limit.unauthenticated.rate`: is 0"),
        ("[rate_limit]\nsession_cookies = [\"a=b\"]\n", "`a=b` is not the name of a cookie"),
        ("[rate_limit]\nlogin_cookies = [\"sid\"]\n", "`sid` is not in `rate_limit.session_cookies`"),
        (
            "[[routes]]\nhost = \"a\"\nbackend = \"http://x\"\n[[routes.rate_limits]]\npath = \"login\"\n",
            "`routes[0].rate_limits[0].path`: `login` is not a path",
        ),
        (
            "[[routes]]\nhost = \"a\"\nbackend = \"http://x\"\n[[routes.rate_limits]]\nmethods = [\"post\"]\n",
            "`routes[0].rate_limits[0].methods`: `post` is not a method in capitals",
        ),
        ("[l4]\nenabled = \"on\"\n", "c.toml:1:2: `l4`: not supported yet"),
        ("[waf]\nwasm_dir = \"x\"\n", "c.toml:2:1: `waf.wasm_dir`: not supported yet"),
        (
            "[waf]\nrules_dir = \"/nonexistent\"\n",
            "c.toml:2:1: `waf.rules_dir`: `/nonexistent` is not a folder",
        ),
        ("[platform]\nmode = \"syn\"\n", "`platform.mode`: `syn` is not one of `auto`, `l7`"),
        ("[tls]\ncert_path = \"x\"\n", "`tls.cert_path`: `cert_path` and `key_path` belong together"),
        ("[tls]\nmin_version = \"1.1\"\n", "`tls.min_version`: `1.1` is not one of `1.2`, `1.3`"),
        (
            "[tls]\nmin_version = \"1.3\"\nmax_version = \"1.2\"\n",
            "`tls.min_version`: is above `max_version`",
        ),
        ("[tls]\ncipher_suites = [\"RC4\"]\n", "`RC4` is not one of"),
        ("[tls]\nalpn = [\"spdy\"]\n", "`spdy` is not one of"),
        ("[tls]\nclient_cert_required = true\n", "`tls.client_cert_required`: needs `client_ca_path`"),
        ("[tls.acme]\nenabled = true\n", "`tls.acme`: not supported yet"),
        ("[telemetry]\nlog_level = \"loud\"\n", "`telemetry.log_level`"),
        ("[telemetry]\ntrace_sample_ratio = 2\n", "2 is out of range: 0 to 1"),
        ("[telemetry]\nmetrics_bind = \"x\"\n", "`telemetry.metrics_bind`: `x` is not an address"),
        ("[telemetry]\notlp_endpoint = \"x\"\n", "`telemetry.otlp_endpoint`"),
        ("[audit]\nclient_ip = \"none\"\n", "`none` is not one of `full`, `truncated`, `hashed`"),
        ("[audit]\nfeatures = true\n", "`audit.features`: not supported yet"),
        ("[management]\ntoken = \"short\"\n", "`management.token`: is shorter than 16 characters"),
        ("[management]\ntoken = { file = \"/nonexistent\" }\n", "failed to read secret file `/nonexistent`"),
        ("[ssh]\nlisten = \"127.0.0.1:0\"\n", "`listen` and `backend` belong together"),
        ("[ssh]\nlisten = \"127.0.0.1:0\"\nbackend = \"x\"\n", "`ssh.backend`: `x` is not `name:port`"),
        ("[[routes]]\nbackend = \"http://x\"\n", "`routes[0]`: a route needs `host_prefix` or `host`"),
        ("[[routes]]\nhost = \"a\"\n", "`routes[0]`: a route needs `backend`"),
        ("[[routes]]\nhost = \"a\"\nbackend = \"x:80\"\n", "must begin with `http://` or `https://`"),
        ("[[routes]]\nhost = \"a\"\nbackend = [\"http://x\", \"http://x\"]\n", "stands in this list already"),
        (
            "[[routes]]\nhost = \"a\"\nbackend = \"http://x\"\nprotect = { challenge = \"on\" }\n",
            "`routes[0].protect.challenge`: `on` is not one of `off`, `auto`, `require`",
        ),
        ("[challenge]\nsecret = \"short\"\n", "`challenge.secret`: is shorter than 32 characters"),
        ("[challenge]\ndifficulty = 40\n", "40 is out of range: 1 to 24"),
        (
            "[[routes]]\nhost = \"a\"\nbackend = \"http://x\"\n[routes.cache]\n",
            "`routes[0].cache`: not supported yet",
        ),
        ("[[routes]]\nhost = \"a\"\nstatic_root = \"/etc/hostname\"\n", "`routes[0].static_root`"),
        (
            "[[routes]]\nhost = \"a\"\nbackend = \"https://x\"\nbackend_ca_path = \"/nonexistent\"\n",
            "`routes[0].backend_ca_path`",
        ),
        (
            "[[routes]]\nhost = \"a\"\nbackend = \"http://127.0.0.1:9999\"\n",
            "is this node's management address",
        ),
        (
            "[[routes]]\nhost = \"a\"\nbackend = \"http://x\"\n[[routes.rewrites]]\npattern = \"(\"\ntarget = \"x\"\n",
            "not a regular expression: unclosed group",
        ),
        (
            "[listen]\nhttps = []\n[[routes]]\nhost = \"a\"\nbackend = \"http://x\"\n",
            "redirects to https, but `listen.https` is empty",
        ),
        ("x = [1,\n", "c.toml:"),
        ("[limits\n", "c.toml:1:"),
    ] {
        let (code, told) = validate(text);
        assert_eq!(code, 2, "{text}\n{told}");
        assert!(told.contains(want), "missing `{want}` for\n{text}\nin {told}");
    }
}

#[test]
fn what_lets_nearly_everybody_through_or_nobody_is_warned_of() {
    let base = "[[routes]]\nhost = \"a\"\nbackend = \"http://127.0.0.1:1\"\n";
    for (text, want) in [
        ("[lists]\nallow = [\"0.0.0.0/1\"]\n", "`lists.allow[0]`: `0.0.0.0/1` is nearly everybody"),
        ("[lists]\nallow = [\"::/0\"]\n", "`lists.allow[0]`: `::/0` is nearly everybody"),
        ("[lists]\nblock = [\"0.0.0.0/0\"]\n", "`lists.block[0]`: `0.0.0.0/0` is nearly everybody"),
        ("[listen]\ntrusted_proxies = [\"0.0.0.0/0\"]\n", "each of them chooses the address"),
        ("[rate_limit]\nbypass_cidrs = [\"0.0.0.0/0\"]\n", "none of them has limits"),
        ("[rate_limit.unauthenticated]\nburst = 0\n", "`rate_limit.unauthenticated.burst`: is 0"),
        ("[rate_limit.global]\nrate = 100\n", "`rate_limit.global.burst`: is 0"),
        ("[[scanner.allowlist]]\nua_prefix = \"x\"\n", "believed by its user agent alone"),
        (
            "[[scanner.allowlist]]\nua_prefix = \"x\"\ndns_suffixes = [\"com\"]\n",
            "everybody can have a name there",
        ),
        ("[ddos]\nmin_events = 500\n", "50 is not reached before `ddos.min_events` (500)"),
        (
            "[lists]\nblock = [\"192.0.2.1\"]\nallow = [\"192.0.2.0/24\"]\n",
            "`192.0.2.1/32` is allowed by `lists.allow`",
        ),
    ] {
        let (code, told) = validate(&format!("{text}{base}"));
        assert_ne!(code, 2, "{text}\n{told}");
        assert!(told.contains(want), "missing `{want}` for\n{text}\nin {told}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let (_, told) =
        validate("[limits]\nmax_headers = 1\n[tls]\nalpn = [\"x\"]\n[[routes]]\nhost = \"a\"\n[zzz]\n");
    for part in ["c.toml:2:", "c.toml:4:", "c.toml:5:", "c.toml:7:"] {
        assert!(told.contains(part), "missing {part} in {told}");
    }
}

#[test]
fn a_good_file_is_ok_and_a_dead_backend_is_a_warning() {
    let alive = TestUpstream::echo();
    let folder = TestFolder::new();
    let dead = sunbeam_testkit::free_address();
    let text = format!(
        "[[routes]]\nhost = \"a\"\nbackend = \"{}\"\n[[routes]]\nhost = \"b\"\nbackend = \"http://{dead}\"\n",
        alive.url()
    );
    let path = folder.write("c.toml", text).display().to_string();
    let (code, out, err) = told(&run(&folder, &["validate", &path]));
    assert_eq!(code, 0, "{out}{err}");
    let told_all = format!("{out}{err}");
    assert!(told_all.contains("ok, 2 routes"), "{told_all}");
    assert!(told_all.contains(&dead.to_string()), "{told_all}");
    assert!(!told_all.contains(&alive.address().to_string()), "{told_all}");
}
