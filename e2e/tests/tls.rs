// SPDX-License-Identifier: Apache-2.0
//! TLS towards clients, and the sockets below it (rows A02, A03, A05, A07 to A09, A14, A20), as OpenSSL and
//! curl see them.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sunbeam_listeners::Scheme;
use sunbeam_testkit::{
    TestCa, TestFolder, TestProxy, TestUpstream, eventually, free_address, raw_exchange, run, served_serial,
};

const NAME: &str = "www.example.test";

#[test]
fn a_handshake_shows_the_configured_certificate() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::builder().route("www", &backend.url()).start();
    let told = s_client(&proxy, &["-showcerts"]);
    let packed = |text: &str| text.split_whitespace().collect::<String>();
    assert!(packed(&told).contains(&packed(&proxy.certificate().cert_pem)), "{told}");
    assert!(told.contains("Verify return code: 0 (ok)"), "{told}");
    assert!(proxy.metric("sunbeam_tls_handshakes_total", &[("result", "ok")]) > 0.5);
}

#[test]
fn only_the_configured_versions_are_spoken() {
    let backend = TestUpstream::echo();
    for (config, spoken, refused) in [
        ("", &["1.2", "1.3"][..], &["1.0", "1.1"][..]),
        ("min_version = \"1.3\"", &["1.3"], &["1.1", "1.2"]),
        ("max_version = \"1.2\"", &["1.2"], &["1.1", "1.3"]),
    ] {
        let proxy = start(&backend, config);
        for version in spoken {
            let told = s_client(&proxy, &[&flag(version)]);
            assert!(told.contains(&format!("New, TLSv{version}, Cipher is ")), "{config}, {version}: {told}");
            assert!(told.contains("Verify return code: 0 (ok)"), "{config}, {version}: {told}");
        }
        for version in refused {
            // OpenSSL itself would not offer the old ones otherwise.
            let told = s_client(&proxy, &[&flag(version), "-cipher", "DEFAULT@SECLEVEL=0"]);
            // Which alert it gets depends on the version; that one came says that the node was asked.
            assert!(told.contains("SSL alert number"), "{config}, {version}: {told}");
            assert!(told.contains("Cipher is (NONE)"), "{config}, {version}: {told}");
        }
        let failed = proxy.metric("sunbeam_tls_handshakes_total", &[("result", "failed")]);
        assert!((failed - 2.0).abs() < 0.1, "{config}: {failed}");
    }
}

#[test]
fn the_protocol_is_the_one_the_node_prefers() {
    let backend = TestUpstream::echo();
    for (config, offered, want) in [
        ("", "http/1.1,h2", "ALPN protocol: h2"),
        ("", "http/1.1", "ALPN protocol: http/1.1"),
        ("", "", "No ALPN negotiated"),
        ("alpn = [\"http/1.1\", \"h2\"]", "h2,http/1.1", "ALPN protocol: http/1.1"),
        ("alpn = [\"h2\"]", "http/1.1,h2", "ALPN protocol: h2"),
        ("alpn = [\"h2\"]", "http/1.1", "alert no application protocol"),
        ("alpn = [\"http/1.1\"]", "h2", "alert no application protocol"),
        ("alpn = []", "h2,http/1.1", "No ALPN negotiated"),
    ] {
        let proxy = start(&backend, config);
        let arguments = if offered.is_empty() { vec![] } else { vec!["-alpn", offered] };
        let told = s_client(&proxy, &arguments);
        assert!(told.contains(want), "{config}, offered {offered:?}: {told}");
    }
}

#[test]
fn only_the_configured_cipher_suites_are_used() {
    let backend = TestUpstream::echo();
    let suites = "cipher_suites = [\"TLS_AES_256_GCM_SHA384\", \"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\"]";
    let proxy = start(&backend, suites);
    for (version, option, suite, works) in [
        ("-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384", true),
        ("-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256", false),
        ("-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256", false),
        ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256", true),
        ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384", false),
    ] {
        let told = s_client(&proxy, &[version, option, suite]);
        assert_eq!(told.contains(&format!("Cipher is {suite}")), works, "{suite}: {told}");
        assert_eq!(told.contains("alert handshake failure"), !works, "{suite}: {told}");
    }
}

#[test]
fn clients_show_a_certificate_where_they_must() {
    let backend = TestUpstream::echo();
    let (ours, theirs, folder) = (TestCa::new(), TestCa::new(), TestFolder::new());
    let roots = ours.write_root(&folder);
    let known = ours.issue(&["client.example.test"]).write(&folder, "known");
    let stranger = theirs.issue(&["client.example.test"]).write(&folder, "stranger");
    for (required, shown, works) in [
        (true, None, false),
        (true, Some(&known), true),
        (true, Some(&stranger), false),
        (false, None, true),
        (false, Some(&known), true),
        (false, Some(&stranger), false),
    ] {
        let proxy =
            start(&backend, &format!("client_ca_path = {roots:?}\nclient_cert_required = {required}"));
        for version in ["1.2", "1.3"] {
            let mut curl = proxy.curl();
            curl.args(["--tls-max", version, "--write-out", " %{http_code}"]);
            if let Some((certificate, key)) = shown {
                curl.arg("--cert").arg(certificate).arg("--key").arg(key);
            }
            let output = run(curl.arg("https://www.example.test/x"));
            let told = String::from_utf8(output.stdout).unwrap();
            let name = format!("required: {required}, shown: {shown:?}, TLS {version}: {told}");
            assert_eq!(output.status.success(), works, "{name}");
            assert_eq!(told, if works { "GET /x 200" } else { " 000" }, "{name}");
        }
    }
    assert_eq!(backend.seen().len(), 6, "who may not come in reaches no backend");
}

#[test]
fn a_staple_is_served_and_read_again_when_it_changes() {
    let backend = TestUpstream::echo();
    let (ca, folder) = (TestCa::new(), TestFolder::new());
    let (root, key) = (ca.write_root(&folder), ca.write_root_key(&folder));
    let certificate = ca.issue(&["stapled.example.test"]);
    let (cert_path, key_path) = certificate.write(&folder, "stapled");
    let status = |state: &str| ocsp_response(&folder, &root, &key, &cert_path, state);
    let staple = status("V\t350101000000Z\t");
    let proxy = start(
        &backend,
        &format!(
            "[[tls.certificates]]\ncert_path = {cert_path:?}\nkey_path = {key_path:?}\nocsp_path = {staple:?}"
        ),
    );
    let told = s_client_for(&proxy, "stapled.example.test", &["-status"]);
    assert!(
        told.contains("OCSP Response Status: successful") && told.contains("Cert Status: good"),
        "{told}"
    );
    let told = s_client(&proxy, &["-status"]);
    assert!(told.contains("OCSP response: no response sent"), "another certificate has none: {told}");
    status("R\t350101000000Z\t250101000000Z");
    eventually("the new staple is served", || {
        s_client_for(&proxy, "stapled.example.test", &["-status"])
            .contains("Cert Status: revoked")
            .then_some(())
    });
}

#[test]
fn a_session_is_resumed() {
    let backend = TestUpstream::echo();
    let proxy = start(&backend, "");
    for version in ["1.2", "1.3"] {
        let session = proxy.folder().join(&format!("session-{version}"));
        // TLS 1.3 tickets come behind the handshake: only a whole exchange is sure to have seen them.
        let first = s_client_exchange(&proxy, &[&flag(version), "-sess_out", session.to_str().unwrap()]);
        assert!(first.contains(&format!("New, TLSv{version}")) && first.contains("GET /resumed"), "{first}");
        let second = s_client_exchange(&proxy, &[&flag(version), "-sess_in", session.to_str().unwrap()]);
        assert!(second.contains(&format!("Reused, TLSv{version}")), "{second}");
        assert!(second.contains("GET /resumed"), "{second}");
    }
}

#[test]
fn the_name_asked_for_chooses_the_certificate() {
    let backend = TestUpstream::echo();
    let (ca, folder) = (TestCa::new(), TestFolder::new());
    let mut text = String::new();
    let mut serials = Vec::new();
    for (file, in_certificate, names) in [
        ("exact", "a.shop.test", ""),
        ("wildcard", "*.shop.test", ""),
        ("named", "*.named.test", "names = [\"b.named.test\", \"*.more.named.test\"]"),
    ] {
        let certificate =
            ca.issue(&[in_certificate, "*.more.named.test"][..if names.is_empty() { 1 } else { 2 }]);
        let (cert_path, key_path) = certificate.write(&folder, file);
        text.push_str(&format!(
            "[[tls.certificates]]\ncert_path = {cert_path:?}\nkey_path = {key_path:?}\n{names}\n"
        ));
        serials.push(certificate.serial);
    }
    let proxy = start(&backend, &text);
    for (name, want) in [
        ("a.shop.test", 0),
        ("b.shop.test", 1),
        ("A.Shop.Test", 0),
        ("b.named.test", 2),
        ("x.more.named.test", 2),
    ] {
        let serial = served_serial(proxy.https(), ca.client_config(), name);
        assert_eq!(serial.as_ref(), serials.get(want), "{name}");
    }
    for name in ["shop.test", "a.b.shop.test", "c.named.test", NAME] {
        let told = s_client_for(&proxy, name, &["-showcerts"]);
        let packed = |text: &str| text.split_whitespace().collect::<String>();
        assert!(packed(&told).contains(&packed(&proxy.certificate().cert_pem)), "{name} gets the default");
    }
}

#[test]
fn a_node_without_its_certificate_starts_and_serves_it_when_it_comes() {
    let backend = TestUpstream::echo();
    let (ca, folder) = (TestCa::new(), TestFolder::new());
    let (cert_path, key_path) = (folder.join("late.crt"), folder.join("late.key"));
    let open = format!("{}\ndisable_secure_redirection = true", route(&backend));
    let proxy =
        TestProxy::start(&format!("[tls]\ncert_path = {cert_path:?}\nkey_path = {key_path:?}\n{open}"));
    assert_eq!(proxy.client().plain().get(NAME, "/plain").text(), "GET /plain");
    assert_eq!(served_serial(proxy.https(), ca.client_config(), NAME), None);
    assert!(s_client(&proxy, &[]).contains("Cipher is (NONE)"));
    assert!(proxy.metric("sunbeam_tls_handshakes_total", &[("result", "no_certificate")]) > 0.5);
    let certificate = ca.issue(&[NAME]);
    certificate.write(&folder, "late");
    let serial =
        eventually("the certificate is served", || served_serial(proxy.https(), ca.client_config(), NAME));
    assert_eq!(serial, certificate.serial);
    assert_eq!(proxy.client().plain().get(NAME, "/plain").text(), "GET /plain");
}

#[test]
fn certificates_change_under_load_without_a_failed_request() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::start(&format!("[limits]\nkeepalive_requests = 1000000000\n{}", route(&backend)));
    // One connection that lives through every change, and new ones all the time.
    let log = proxy.folder().join("kept.log");
    let mut curl = proxy.curl();
    // What curl says on its standard error is not buffered: nothing is lost when it is killed.
    let told = "%{stderr}%{http_code} %{num_connects}\\n";
    curl.args(["--http1.1", "--output", "/dev/null", "--write-out", told]);
    curl.arg("https://www.example.test/kept/[1-10000000]").stderr(File::create(&log).unwrap());
    let kept = Killed(curl.spawn().unwrap());
    let (over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let clients = [proxy.client(), proxy.client().http2()];
    thread::scope(|scope| {
        let ends = Ends(&over);
        let loads = clients.map(|client| {
            let (over, asked) = (&over, &asked);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let answer = client.try_get(NAME, "/new");
                    assert!(answer.as_ref().is_ok_and(|answer| answer.status == 200), "{answer:?}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        for _ in 0..3 {
            let before = asked.load(Ordering::Relaxed);
            let next = proxy.ca().issue(&["*.example.test"]);
            // Not at once, as a person with `cp` does it: the halves do not fit for a moment.
            next.write(proxy.folder(), "server");
            eventually("the new certificate is served", || {
                let serial = served_serial(proxy.https(), proxy.client_config(), NAME)?;
                (serial == next.serial && asked.load(Ordering::Relaxed) > before + 20).then_some(())
            });
        }
        drop(ends);
        for load in loads {
            load.join().unwrap();
        }
    });
    drop(kept);
    let log = fs::read_to_string(log).unwrap();
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    assert!(whole.lines().count() > 20, "{}", whole.lines().count());
    assert_eq!(whole.lines().next(), Some("200 1"));
    assert!(whole.lines().skip(1).all(|line| line == "200 0"), "the kept connection was never dropped");
    assert!(proxy.metric("sunbeam_tls_handshakes_total", &[("result", "failed")]) < 0.5);
}

#[test]
fn a_broken_certificate_file_leaves_the_old_one_in_use() {
    let backend = TestUpstream::echo();
    let proxy = start(&backend, "");
    let serial = || served_serial(proxy.https(), proxy.client_config(), NAME);
    let first = proxy.certificate().clone();
    let other = proxy.ca().issue(&["*.example.test"]);
    for (name, certificate) in [
        ("garbage", "not a certificate"),
        ("empty", ""),
        ("half", first.cert_pem.get(..200).unwrap()),
        ("another key's", &other.cert_pem),
    ] {
        fs::write(proxy.folder().join("server.crt"), certificate).unwrap();
        // The node has looked at its files in between when this clock of its has gone on twice.
        let uptime = || proxy.metric("sunbeam_uptime_seconds", &[]);
        let before = uptime();
        eventually("the node looked", || (uptime() > before + 1.5).then_some(()));
        assert_eq!(serial().as_deref(), Some(first.serial.as_str()), "{name}");
        let config = fs::read_to_string(proxy.config_path()).unwrap();
        assert!(proxy.reload(&config).is_err(), "{name}: a reload says so");
        assert_eq!(proxy.client().get(NAME, "/").status, 200, "{name}");
    }
    other.write(proxy.folder(), "server");
    eventually("a good pair is taken", || (serial()? == other.serial).then_some(()));
}

#[test]
fn both_stacks_are_served_on_sockets_of_their_own() {
    let backend = TestUpstream::echo();
    let open = format!("{}\ndisable_secure_redirection = true", route(&backend));
    // The same port on both wildcards: without IPV6_V6ONLY the second could not be bound.
    let port = free_address().port();
    let proxy = TestProxy::start(&format!(
        "[listen]\nhttp = [\"0.0.0.0:{port}\", \"[::]:{port}\"]\nhttps = [\"127.0.0.1:0\", \"[::1]:0\"]\n{open}"
    ));
    let listeners = proxy.node().listeners();
    let plain: Vec<_> = listeners.iter().filter(|(scheme, _)| *scheme == Scheme::Http).collect();
    assert_eq!(plain.len(), 2, "{listeners:?}");
    assert_eq!(listeners.len(), 4, "{listeners:?}");
    for (address, client_ip) in [(format!("127.0.0.1:{port}"), "127.0.0.1"), (format!("[::1]:{port}"), "::1")]
    {
        let address: SocketAddr = address.parse().unwrap();
        let answer = raw_exchange(address, request(&format!("/{client_ip}")).as_bytes());
        assert!(answer.ends_with(&format!("GET /{client_ip}")), "{answer}");
        let record = proxy.audit().wait_for(client_ip, |record| record.path == format!("/{client_ip}"));
        assert_eq!(record.client_ip, client_ip);
    }
    for (_, address) in listeners.iter().filter(|(scheme, _)| *scheme == Scheme::Https) {
        let serial = served_serial(*address, proxy.client_config(), NAME);
        assert_eq!(serial.as_deref(), Some(proxy.certificate().serial.as_str()), "{address}");
    }
}

#[test]
fn a_flood_on_one_stack_does_not_starve_the_other() {
    let backend = TestUpstream::echo();
    let open = format!("{}\ndisable_secure_redirection = true", route(&backend));
    let proxy = TestProxy::start(&format!("[listen]\nhttp = [\"127.0.0.1:0\", \"[::1]:0\"]\n{open}"));
    let address = |is_v4: bool| {
        let listeners = proxy.node().listeners();
        let mut found = listeners
            .iter()
            .filter(|(scheme, address)| *scheme == Scheme::Http && address.is_ipv4() == is_v4);
        found.next().unwrap().1
    };
    let (v4, v6) = (address(true), address(false));
    let (over, flooded) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let _ends = Ends(&over);
        for _ in 0..4 {
            let (over, flooded) = (&over, &flooded);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    drop(TcpStream::connect(v4));
                    flooded.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        eventually("the flood is on", || (flooded.load(Ordering::Relaxed) > 500).then_some(()));
        let mut waits: Vec<Duration> = (0..21)
            .map(|_| {
                let begun = Instant::now();
                let answer = raw_exchange(v6, request("/v6").as_bytes());
                assert!(answer.ends_with("GET /v6"), "{answer}");
                begun.elapsed()
            })
            .collect();
        waits.sort();
        // The median: where packets are lost in the flood, one or another takes seconds.
        assert!(waits[10] < Duration::from_secs(1), "{waits:?}");
    });
}

/// Ends the loads of a scope, which waits for them, also when the test fails inside it.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A child that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn route(backend: &TestUpstream) -> String {
    format!("[[routes]]\nhost_prefix = \"www\"\nbackend = \"{}\"", backend.url())
}

/// A proxy with these keys in `[tls]`.
fn start(backend: &TestUpstream, tls: &str) -> TestProxy {
    TestProxy::start(&format!("[tls]\n{tls}\n{}", route(backend)))
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n")
}

fn flag(version: &str) -> String {
    match version {
        "1.0" => "-tls1".to_owned(),
        version => format!("-tls{}", version.replace('.', "_")),
    }
}

fn s_client(proxy: &TestProxy, arguments: &[&str]) -> String {
    s_client_for(proxy, NAME, arguments)
}

/// What OpenSSL tells of a handshake, after which it hangs up.
fn s_client_for(proxy: &TestProxy, name: &str, arguments: &[&str]) -> String {
    told(s_client_command(proxy, name, arguments).stdin(Stdio::null()))
}

/// As [`s_client`], with a request and its answer inside.
fn s_client_exchange(proxy: &TestProxy, arguments: &[&str]) -> String {
    let path = proxy.folder().write("request", request("/resumed"));
    told(
        s_client_command(proxy, NAME, arguments)
            .arg("-ign_eof")
            .stdin(File::open(path).expect("the request")),
    )
}

fn s_client_command(proxy: &TestProxy, name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &proxy.https().to_string(), "-servername", name, "-CAfile"]);
    command.arg(proxy.ca_path()).args(arguments);
    command
}

fn told(command: &mut Command) -> String {
    let output = command.output().expect("openssl");
    [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}

/// Lets OpenSSL answer as the CA's OCSP responder, into `staple.der`. `state` begins the line of its index:
/// valid or revoked, and when.
fn ocsp_response(folder: &TestFolder, root: &Path, key: &Path, certificate: &Path, state: &str) -> PathBuf {
    let openssl = |arguments: &[&str], paths: &[(&str, &Path)]| {
        let mut command = Command::new("openssl");
        command.args(arguments);
        for (option, path) in paths {
            command.arg(option).arg(path);
        }
        let output = run(&mut command);
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let serial = openssl(&["x509", "-noout", "-serial"], &[("-in", certificate)]);
    let serial = serial.trim().strip_prefix("serial=").expect("a serial").to_owned();
    let index = folder.write("index.txt", format!("{state}\t{serial}\tunknown\t/CN=stapled\n"));
    let (asked, fresh, staple) =
        (folder.join("asked.der"), folder.join("fresh.der"), folder.join("staple.der"));
    openssl(&["ocsp", "-no_nonce"], &[("-issuer", root), ("-cert", certificate), ("-reqout", &asked)]);
    let responder = [("-index", index.as_path()), ("-CA", root), ("-rsigner", root), ("-rkey", key)];
    let files = [("-reqin", asked.as_path()), ("-respout", &fresh)];
    openssl(&["ocsp", "-ndays", "7"], &[responder.as_slice(), &files].concat());
    // The node must never read half of it.
    fs::rename(fresh, &staple).expect("put the staple in place");
    staple
}
