// SPDX-License-Identifier: Apache-2.0
//! Scanners that people download: each as it comes, slowed down, and with a borrowed user agent.

use super::{Generator, How, Label, Run, SECS_MAX, SLOW_SECS_MAX};

pub(super) const GENERATORS: &[Generator] = &[
    Generator { name: "sqlmap", label: Label::Attack, version: &["sqlmap", "--version"], runs: SQLMAP },
    Generator { name: "dirb", label: Label::Attack, version: &["dirb"], runs: DIRB },
    Generator { name: "gobuster", label: Label::Attack, version: &["gobuster", "version"], runs: GOBUSTER },
    Generator { name: "ffuf", label: Label::Attack, version: &["ffuf", "-V"], runs: FFUF },
    Generator { name: "wapiti", label: Label::Attack, version: &["wapiti", "--version"], runs: WAPITI },
];

/// dirb's list of names, which all of them take.
const WORDS: &str = "/usr/share/dirb/wordlists/common.txt";

const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36";

/// The same as a header line.
const CHROME_LINE: &str = "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36";

const SQLMAP: &[Run] = &[
    Run {
        intensity: "full",
        secs_max: SECS_MAX,
        how: How::Tool(&["sqlmap", "--batch", "--flush-session", "--level=2", "-u", "@URL@/search?q=lamp"]),
    },
    Run {
        intensity: "full-login",
        secs_max: SECS_MAX,
        how: How::Tool(&[
            "sqlmap",
            "--batch",
            "--flush-session",
            "--level=1",
            "--ignore-code=401",
            "--data=name=anna&password=x",
            "-u",
            "@URL@/login",
        ]),
    },
    Run {
        intensity: "slow",
        secs_max: SLOW_SECS_MAX,
        how: How::Tool(&["sqlmap", "--batch", "--flush-session", "--delay=0.6", "-u", "@URL@/search?q=lamp"]),
    },
    Run {
        intensity: "slow-random-agent",
        secs_max: SLOW_SECS_MAX,
        how: How::Tool(&[
            "sqlmap",
            "--batch",
            "--flush-session",
            "--random-agent",
            "--delay=0.6",
            "-u",
            "@URL@/search?q=oak",
        ]),
    },
    Run {
        intensity: "disguised-login",
        secs_max: SECS_MAX,
        how: How::Tool(&[
            "sqlmap",
            "--batch",
            "--flush-session",
            "--random-agent",
            "--ignore-code=401",
            "--delay=0.1",
            "--cookie=visitor=b71c",
            "--referer=@URL@/login",
            "--header=Accept-Language: en-US,en;q=0.9",
            "-p",
            "name",
            "--data=name=anna&password=x",
            "-u",
            "@URL@/login",
        ]),
    },
    Run {
        intensity: "crawl",
        secs_max: SECS_MAX,
        how: How::Tool(&["sqlmap", "--batch", "--flush-session", "--crawl=2", "--forms", "-u", "@URL@/"]),
    },
];

const DIRB: &[Run] = &[
    Run {
        intensity: "full",
        secs_max: SECS_MAX,
        how: How::Tool(&["dirb", "@URL@/", WORDS, "-S", "-r", "-w"]),
    },
    Run {
        intensity: "10-a-second",
        secs_max: SECS_MAX,
        how: How::Tool(&["dirb", "@URL@/", WORDS, "-S", "-r", "-w", "-z", "100"]),
    },
    Run {
        intensity: "2-a-second",
        secs_max: SLOW_SECS_MAX,
        how: How::Tool(&["dirb", "@URL@/", WORDS, "-S", "-r", "-w", "-z", "500"]),
    },
    Run {
        intensity: "2-a-second-disguised",
        secs_max: SLOW_SECS_MAX,
        how: How::Tool(&[
            "dirb",
            "@URL@/",
            WORDS,
            "-S",
            "-r",
            "-w",
            "-z",
            "450",
            "-a",
            CHROME,
            "-c",
            "visitor=b71c",
            "-H",
            "Accept-Language: en-US,en;q=0.9",
        ]),
    },
];

const GOBUSTER: &[Run] = &[
    Run {
        intensity: "full",
        secs_max: SECS_MAX,
        how: How::Tool(&["gobuster", "dir", "-q", "-z", "-t", "10", "-u", "@URL@", "-w", WORDS]),
    },
    Run {
        intensity: "full-random-agent",
        secs_max: SECS_MAX,
        how: How::Tool(&[
            "gobuster",
            "dir",
            "-q",
            "-z",
            "-t",
            "4",
            "--random-agent",
            "-x",
            "php,bak",
            "-u",
            "@URL@",
            "-w",
            WORDS,
        ]),
    },
    Run {
        intensity: "10-a-second",
        secs_max: SECS_MAX,
        how: How::Tool(&[
            "gobuster", "dir", "-q", "-z", "-t", "1", "--delay", "95ms", "-u", "@URL@", "-w", WORDS,
        ]),
    },
    Run {
        intensity: "2-a-second-disguised",
        secs_max: SLOW_SECS_MAX,
        how: How::Tool(&[
            "gobuster",
            "dir",
            "-q",
            "-z",
            "-t",
            "1",
            "--delay",
            "480ms",
            "-a",
            CHROME,
            "-c",
            "visitor=b71c",
            "-H",
            "Accept-Language: de",
            "-H",
            "Accept: text/html,*/*;q=0.8",
            "-H",
            "Referer: @URL@/",
            "-u",
            "@URL@",
            "-w",
            WORDS,
        ]),
    },
];

const FFUF: &[Run] = &[
    Run {
        intensity: "full",
        secs_max: SECS_MAX,
        how: How::Tool(&["ffuf", "-s", "-t", "20", "-u", "@URL@/FUZZ", "-w", WORDS]),
    },
    Run {
        intensity: "parameters",
        secs_max: SECS_MAX,
        how: How::Tool(&["ffuf", "-s", "-t", "2", "-p", "0.05", "-u", "@URL@/search?FUZZ=1", "-w", WORDS]),
    },
    Run {
        intensity: "10-a-second-disguised",
        secs_max: SECS_MAX,
        how: How::Tool(&[
            "ffuf",
            "-s",
            "-t",
            "1",
            "-p",
            "0.09",
            "-H",
            CHROME_LINE,
            "-H",
            "Accept-Language: en-US",
            "-H",
            "Accept: text/html",
            "-u",
            "@URL@/articles/FUZZ",
            "-w",
            WORDS,
        ]),
    },
    Run {
        intensity: "2-a-second",
        secs_max: SLOW_SECS_MAX,
        how: How::Tool(&["ffuf", "-s", "-t", "1", "-p", "0.48", "-u", "@URL@/FUZZ.php", "-w", WORDS]),
    },
];

/// wapiti's, without those that need a server of its makers.
const MODULES: &str =
    "backup,blindsql,crlf,csp,exec,file,htaccess,methods,permanentxss,redirect,shellshock,sql,xss";

const WAPITI: &[Run] = &[
    Run {
        intensity: "full",
        secs_max: SECS_MAX,
        how: How::Tool(&[
            "wapiti",
            "--no-bugreport",
            "-m",
            MODULES,
            "-f",
            "txt",
            "-o",
            "@WORK@/wapiti.txt",
            "-u",
            "@URL@/",
        ]),
    },
    Run {
        intensity: "injections",
        secs_max: SECS_MAX,
        how: How::Tool(&[
            "wapiti",
            "--no-bugreport",
            "-d",
            "1",
            "-m",
            "sql,xss,exec,file",
            "-f",
            "txt",
            "-o",
            "@WORK@/wapiti.txt",
            "-u",
            "@URL@/search?q=lamp",
        ]),
    },
    Run {
        intensity: "files",
        secs_max: SECS_MAX,
        how: How::Tool(&[
            "wapiti",
            "--no-bugreport",
            "-d",
            "1",
            "-m",
            "backup,buster,htaccess",
            "-f",
            "txt",
            "-o",
            "@WORK@/wapiti.txt",
            "-u",
            "@URL@/",
        ]),
    },
    Run {
        intensity: "disguised",
        secs_max: SECS_MAX,
        how: How::Tool(&[
            "wapiti",
            "--no-bugreport",
            "-S",
            "polite",
            "-m",
            MODULES,
            "-A",
            CHROME,
            "-H",
            "Accept-Language: en-US,en;q=0.9",
            "-H",
            "Accept: text/html,application/xhtml+xml",
            "-f",
            "txt",
            "-o",
            "@WORK@/wapiti.txt",
            "-u",
            "@URL@/",
        ]),
    },
];
