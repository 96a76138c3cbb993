// SPDX-License-Identifier: Apache-2.0
//! `sunbeam allow` and `sunbeam exceptions`, against a node.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use sunbeam_testkit::{TestFolder, TestUpstream, eventually, raw_exchange};

use crate::program::{Serving, write_config};

const RULES: &str = "SecRule ARGS \"@contains walrus\" \"id:1000002,phase:2,pass,log,msg:'A walrus',\
                     setvar:'tx.blocking_inbound_anomaly_score=+5'\"\n";

fn asked(node: &Serving, target: &str) -> (u16, String) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = raw_exchange(node.http, request.as_bytes());
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    let id =
        answer.lines().find_map(|line| line.to_lowercase().strip_prefix("x-request-id: ").map(str::to_owned));
    (status, id.unwrap())
}

#[test]
fn a_mistake_is_allowed_listed_exported_and_taken_back() {
    let (backend, folder) = (TestUpstream::echo(), TestFolder::new());
    folder.write("rules/own.conf", RULES);
    let text = format!(
        "[[routes]]\nhost = \"localhost\"\nbackend = \"{}\"\ndisable_secure_redirection = true\n\
         [waf]\nmode = \"enforce\"\nruleset = \"none\"\nrules_dir = {:?}\n[scanner]\nenabled = false\n",
        backend.url(),
        folder.join("rules"),
    );
    write_config(&folder, &text);
    let node = Serving::start_in(folder, &[]);
    let (code, out, _) = node.ask(&["exceptions"]);
    assert!(code == 0 && out.contains("there are no exceptions"), "{out}");
    let (status, id) = asked(&node, "/list?q=a+walrus");
    assert_eq!(status, 403);
    let told = eventually("it is kept", || {
        let (code, out, _) = node.ask(&["why", &id]);
        (code == 0).then_some(out)
    });
    assert!(told.contains(&format!("sunbeam allow {id}")) && told.contains("ARGS:q"), "{told}");
    let (code, out, err) = node.ask(&["allow", &id, "--dry-run"]);
    assert!(code == 0 && out.contains("would be made") && out.contains("nothing was changed"), "{out}{err}");
    assert_eq!(asked(&node, "/list?q=a+walrus").0, 403);
    let (code, out, err) = node.ask(&["allow", &id[..8], "--for", "30d"]);
    assert_eq!(code, 0, "{out}{err}");
    for says in
        ["rule 1000002 does not look at ARGS:q", "would have passed", "to undo: sunbeam exceptions remove "]
    {
        assert!(out.contains(says), "{says}: {out}");
    }
    let exception = out.split("sunbeam exceptions remove ").nth(1).unwrap().trim().to_owned();
    assert_eq!((asked(&node, "/list?q=a+walrus").0, asked(&node, "/list?w=a+walrus").0), (200, 403));
    let (code, out, err) = node.ask(&["exceptions", "list"]);
    assert!(code == 0 && out.contains(&exception) && out.contains(" left)"), "{out}{err}");
    let (code, out, err) = node.ask(&["exceptions", "show", &exception]);
    assert!(code == 0 && out.contains(&id) && out.contains("hits"), "{out}{err}");
    let (code, out, err) = node.ask(&["exceptions", "export", "--format", "toml"]);
    assert!(
        code == 0 && out.contains("target = \"ARGS:q\"") && out.contains("ids = [1000002]"),
        "{out}{err}"
    );
    // As rules, before those that it is about, it does the same: they are read, and the node obeys them.
    let (code, out, err) = node.ask(&["exceptions", "export"]);
    assert!(code == 0 && out.contains("ctl:ruleRemoveTargetById=1000002;ARGS:q"), "{out}{err}");
    std::fs::write(node.folder.join("rules/exported.conf"), &out).unwrap();
    let (code, listed, err) = node.ask(&["waf", "rules"]);
    assert!(code == 0 && listed.contains("98000"), "{listed}{err}");
    let (code, out, err) = node.ask(&["exceptions", "remove", &exception]);
    assert!(code == 0 && out.contains(&format!("sunbeam allow {id} --for ")), "{out}{err}");
    let (code, _, err) = node.ask(&["reload"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(asked(&node, "/list?q=a+walrus").0, 200, "by the exported rule");
    assert_eq!((asked(&node, "/list?w=a+walrus").0, asked(&node, "/other?q=a+walrus").0), (403, 403));
    std::fs::remove_file(node.folder.join("rules/exported.conf")).unwrap();
    assert_eq!(node.ask(&["reload"]).0, 0);
    assert_eq!(asked(&node, "/list?q=a+walrus").0, 403, "without it");
    let (code, _, err) = node.ask(&["exceptions", "remove", &exception]);
    assert!(code == 1 && err.contains("there is no exception"), "{code} {err}");
    let (code, _, err) = node.ask(&["allow", "00000000"]);
    assert!(code == 1 && err.contains("nothing is kept about `00000000`"), "{code} {err}");
    for wrong in [&["allow", "nonsense"][..], &["exceptions", "show", "nonsense"]] {
        assert_eq!(node.ask(wrong).0, 2, "{wrong:?}");
    }
}
