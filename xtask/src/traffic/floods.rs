// SPDX-License-Identifier: Apache-2.0
//! Load generators turned against the site, from a trickle to all that they can, and the slow attacks.
//! Some wear a browser's headers and ask for real pages: those differ from people by what they do alone.

use super::{Generator, How, Label, Run, SECS_MAX, SLOW_SECS_MAX};

pub(super) const GENERATORS: &[Generator] = &[
    Generator { name: "h2load", label: Label::Attack, version: &["h2load", "--version"], runs: H2LOAD },
    Generator { name: "wrk", label: Label::Attack, version: &["wrk", "-v"], runs: WRK },
    Generator {
        name: "slowhttptest",
        label: Label::Attack,
        version: &["slowhttptest", "-h"],
        runs: SLOWHTTPTEST,
    },
];

const H2LOAD: &[Run] = &[
    Run {
        intensity: "2-a-second",
        secs_max: SLOW_SECS_MAX,
        how: How::Tool(&["h2load", "--h1", "-t1", "-c1", "--rps=2", "-D24", "@URL@/"]),
    },
    Run {
        intensity: "20-a-second",
        secs_max: SECS_MAX,
        how: How::Tool(&[
            "h2load",
            "--h1",
            "-t1",
            "-c4",
            "--rps=5",
            "-D15",
            "@URL@/articles/",
            "@URL@/about",
        ]),
    },
    Run {
        intensity: "20-a-second-http2",
        secs_max: SECS_MAX,
        how: How::Tool(&["h2load", "-t1", "-c2", "-m4", "--rps=10", "-D15", "@HTTPS@/", "@HTTPS@/gallery"]),
    },
    Run {
        intensity: "100-a-second-searches",
        secs_max: SECS_MAX,
        how: How::Tool(&["h2load", "--h1", "-t1", "-c10", "--rps=10", "-D10", "@URL@/search?q=lamp"]),
    },
    Run {
        intensity: "full",
        secs_max: SECS_MAX,
        how: How::Tool(&["h2load", "--h1", "-t1", "-c20", "-D4", "@URL@/"]),
    },
    Run {
        intensity: "full-http2",
        secs_max: SECS_MAX,
        how: How::Tool(&["h2load", "-t1", "-c4", "-m20", "-D4", "@HTTPS@/"]),
    },
    Run {
        intensity: "full-posts",
        secs_max: SECS_MAX,
        how: How::Tool(&["h2load", "--h1", "-t1", "-c10", "-D4", "-d", "@WORK@/config.toml", "@URL@/login"]),
    },
];

const WRK: &[Run] = &[
    Run {
        intensity: "5-a-second-disguised",
        secs_max: SLOW_SECS_MAX,
        how: How::Tool(&[
            "wrk",
            "-t1",
            "-c2",
            "-d24s",
            "-s",
            "@ROOT@/xtask/src/traffic/flood.lua",
            "@URL@",
            "--",
            "400",
        ]),
    },
    Run {
        intensity: "40-a-second-disguised",
        secs_max: SECS_MAX,
        how: How::Tool(&[
            "wrk",
            "-t1",
            "-c20",
            "-d15s",
            "-s",
            "@ROOT@/xtask/src/traffic/flood.lua",
            "@URL@",
            "--",
            "500",
        ]),
    },
    Run {
        intensity: "full-disguised",
        secs_max: SECS_MAX,
        how: How::Tool(&[
            "wrk",
            "-t1",
            "-c20",
            "-d4s",
            "-s",
            "@ROOT@/xtask/src/traffic/flood.lua",
            "@URL@",
            "--",
            "0",
        ]),
    },
    Run {
        intensity: "2-connections",
        secs_max: SECS_MAX,
        how: How::Tool(&["wrk", "-t1", "-c2", "-d8s", "@URL@/"]),
    },
    Run {
        intensity: "50-connections",
        secs_max: SECS_MAX,
        how: How::Tool(&["wrk", "-t1", "-c50", "-d4s", "@URL@/articles/baskets"]),
    },
];

const SLOWHTTPTEST: &[Run] = &[
    Run {
        intensity: "slow-headers",
        secs_max: SECS_MAX,
        how: How::Tool(&[
            "slowhttptest",
            "-H",
            "-c",
            "80",
            "-r",
            "20",
            "-i",
            "2",
            "-x",
            "24",
            "-l",
            "18",
            "-u",
            "@URL@/",
        ]),
    },
    Run {
        intensity: "slow-body",
        secs_max: SECS_MAX,
        how: How::Tool(&[
            "slowhttptest",
            "-B",
            "-c",
            "80",
            "-r",
            "20",
            "-i",
            "2",
            "-s",
            "8192",
            "-l",
            "18",
            "-u",
            "@URL@/login",
        ]),
    },
    Run {
        intensity: "slow-read",
        secs_max: SECS_MAX,
        how: How::Tool(&[
            "slowhttptest",
            "-X",
            "-c",
            "60",
            "-r",
            "15",
            "-w",
            "64",
            "-y",
            "256",
            "-z",
            "16",
            "-n",
            "1",
            "-k",
            "3",
            "-l",
            "18",
            "-u",
            "@URL@/media/film.mp4",
        ]),
    },
    Run {
        intensity: "ranges",
        secs_max: SECS_MAX,
        how: How::Tool(&[
            "slowhttptest",
            "-R",
            "-c",
            "60",
            "-r",
            "10",
            "-a",
            "5",
            "-b",
            "500",
            "-l",
            "12",
            "-u",
            "@URL@/media/film.mp4",
        ]),
    },
];
