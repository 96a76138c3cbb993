// SPDX-License-Identifier: Apache-2.0
//! What data sets are made of and what they leave behind, and what trainers refuse of them (rows J03, J04).
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sunbeam_testkit::{TestFolder, eventually};

use crate::program::sunbeam;
use crate::training::{encoded, json_of, names, of_shop, pick, recordings, run, text, visits, word};

/// A record of a labelled corpus with one value that may attack.
fn wrapped(group: &str, wrapper: &str, value: &str, label: u8) -> String {
    let target = format!("/page?{wrapper}={}", encoded(value));
    json!({
        "src": "made", "label": label, "cls": "made", "method": "GET", "headers": {}, "target": target, "grp": group,
        "body": "",
    })
    .to_string()
}

fn prepared(folder: &TestFolder, name: &str, lines: &[String]) -> (String, Value) {
    let input = text(&folder.write(&format!("{name}.jsonl"), lines.join("\n")));
    let set = text(&folder.join(&format!("{name}.bin")));
    let (code, told) =
        json_of(folder, &["prepare-dataset", "--input", &input, &recordings(), "--output", &set]);
    assert_eq!(code, 0, "{told}");
    (set, told)
}

/// Attacks and innocent texts, each another.
fn value(at: usize) -> (String, u8) {
    let word = word(at);
    match at % 2 {
        0 => (format!("{}' union select {word} from users where {word}={at}-- ", pick(&["a", "x"], at)), 1),
        _ => (format!("{word} && ({} {} for {at} people)", of_shop(at), pick(&["tea", "cake"], at)), 0),
    }
}

#[test]
fn values_that_are_learned_under_one_group_and_judged_under_another_are_refused_by_name() {
    let folder = TestFolder::new();
    let mut lines: Vec<String> = (0..400)
        .map(|at| {
            let (value, label) = value(at);
            wrapped(&format!("g{}", word(at)), "note", &value, label)
        })
        .collect();
    let out = text(&folder.join("out"));
    let train = |set: &str| {
        run(&folder, &["train-mlp-scanner", "--dataset", set, "--output-dir", &out, "--epochs", "1"])
    };
    let (code, told, err) = train(&prepared(&folder, "apart", &lines).0);
    assert_eq!(code, 0, "{told}{err}");
    for at in 0..100 {
        let (value, label) = value(at);
        lines.extend((0..4).map(|twin| {
            wrapped(&format!("twin{}{}", word(at), word(twin)), &format!("q{twin}"), &value, label)
        }));
    }
    let (code, told, err) = train(&prepared(&folder, "twins", &lines).0);
    assert_eq!(code, 1, "{told}{err}");
    assert!(err.contains("such as are learned from under another group") && err.contains("`twin"), "{err}");
}

#[test]
fn the_sides_are_those_of_the_trainers_and_one_group_is_named_as_the_cause() {
    let folder = TestFolder::new();
    let lines: Vec<String> = (0..200)
        .map(|at| {
            let (value, label) = value(at);
            wrapped("same", "note", &value, label)
        })
        .collect();
    let input = text(&folder.write("one.jsonl", lines.join("\n")));
    let set = text(&folder.join("one.bin"));
    let prepare = ["prepare-dataset", "--input", &input, "--output", &set];
    let (code, told) = json_of(&folder, &prepare);
    let sides = &told["sides"];
    let count =
        |side: &str| sides[side]["benign"].as_u64().unwrap() + sides[side]["attack"].as_u64().unwrap();
    assert!(code == 0 && count("training") + count("validation") == 200, "{told}");
    assert!(count("training") == 0 || count("validation") == 0, "{sides}");
    assert!(told["warnings"].to_string().contains("all attacks are of one group"), "{told}");
    let out = text(&folder.join("out"));
    let (code, _, err) = run(&folder, &["train-mlp-scanner", "--dataset", &set, "--output-dir", &out]);
    assert!(code == 1 && err.contains("of one group (`same`)"), "{code} {err}");
    // Groups of their own are on both.
    let many: Vec<String> = (0..200)
        .map(|at| {
            let (value, label) = value(at);
            wrapped(&format!("g{}", word(at)), "note", &value, label)
        })
        .collect();
    let input = text(&folder.write("many.jsonl", many.join("\n")));
    let (_, told) = json_of(&folder, &["prepare-dataset", "--input", &input, "--output", &set]);
    for side in ["training", "validation"] {
        for label in ["benign", "attack"] {
            assert!(told["sides"][side][label].as_u64() > Some(0), "{}", told["sides"]);
        }
    }
    assert_eq!(told["sides"].as_object().unwrap().len(), 2);
}

#[test]
fn a_data_set_that_is_interrupted_leaves_nothing_however_it_ends() {
    let folder = TestFolder::new();
    let place = folder.join("sets");
    std::fs::create_dir(&place).unwrap();
    let left = place.join(".set.bin.7-0.part");
    for (signal, number) in [("-INT", 2), ("-TERM", 15), ("-KILL", 9)] {
        std::fs::write(&left, "of a run that was killed").unwrap();
        let mut child = sunbeam(&folder)
            .args(["prepare-dataset", "--input", "-", "--format", "audit", "--output"])
            .arg(place.join("set.bin"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let files = format!("/proc/{}/fd", child.id());
        eventually("it has begun to write", || {
            let mut open =
                std::fs::read_dir(&files).ok()?.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
            open.any(|file| file.starts_with(&place)).then_some(())
        });
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().signal(), Some(number));
        assert_eq!(names(&place), [".set.bin.7-0.part"], "{signal}");
    }
    let log = text(&folder.write("site.jsonl", visits(of_shop).join("\n")));
    let set = text(&place.join("set.bin"));
    let (code, told, err) = run(&folder, &["prepare-dataset", "--input", &log, "--output", &set]);
    assert_eq!(code, 0, "{told}{err}");
    assert_eq!(names(&place), ["set.bin"], "the next run takes away what was left");
}

#[test]
fn an_empty_file_among_several_is_passed_over_and_a_pipe_is_no_model() {
    let folder = TestFolder::new();
    let log = text(&folder.write("site.jsonl", visits(of_shop).join("\n")));
    let empty = text(&folder.write("site.jsonl.1", ""));
    let (out, set) = (text(&folder.join("out")), text(&folder.join("set.bin")));
    for arguments in [
        &["learn", "--input", &log, &empty, "--output-dir", &out][..],
        &["prepare-dataset", "--input", &log, &empty, "--output", &set],
    ] {
        let (code, told, err) = run(&folder, arguments);
        assert!(code == 0 && err.contains("site.jsonl.1 is empty"), "{code} {told}{err}");
    }
    let pipe = text(&folder.join("pipe"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for arguments in [
        &["model", "verify", &pipe][..],
        &["model", "info", &pipe],
        &["learn", "--input", &log, "--output-dir", &out, "--model", &pipe],
        &["train-mlp-scanner", "--dataset", &pipe, "--output-dir", &out],
    ] {
        let (code, told, err) = run(&folder, arguments);
        assert!(code == 2 && err.contains("file"), "{arguments:?}: {code} {told}{err}");
    }
}
