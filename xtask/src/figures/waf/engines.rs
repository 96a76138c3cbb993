// SPDX-License-Identifier: Apache-2.0
//! libmodsecurity and ours over the same bytes, with the same Core Rule Set at paranoia level 1.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::super::text_of;
use super::{build_peer, rule_files};

/// What is decided of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Word {
    #[default]
    Pass,
    /// Stopped where `waf.mode` is `enforce`, watched where it is `auto`.
    Doubtful,
    Block,
}

/// One of ours.
#[derive(Clone, Debug, Default)]
pub(super) struct Ours {
    pub(super) word: Word,
    pub(super) reason: String,
}

/// What all say of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// Whether libmodsecurity stops it,
    pub(super) peer: bool,
    /// and what it finds.
    pub(super) peer_rules: BTreeSet<u64>,
    /// The Core Rule Set's rules alone,
    pub(super) alone: Ours,
    /// with the model,
    pub(super) together: Ours,
    /// and the project's own rules with the model.
    pub(super) own: Ours,
    /// Of the Core Rule Set.
    pub(super) score: i64,
    /// The model's word, above its doubt, in 1/256.
    pub(super) model: i32,
    /// What the Core Rule Set finds,
    pub(super) rules: BTreeSet<u64>,
    /// and the project's own.
    pub(super) own_rules: BTreeSet<u64>,
}

impl Said {
    pub(super) fn alone_stops(&self) -> bool {
        self.alone.word == Word::Block
    }

    pub(super) fn differs(&self) -> bool {
        self.peer != self.alone_stops()
    }
}

/// Both, ready to be asked.
pub(super) struct Engines<'a> {
    root: &'a Path,
    crs: &'a Path,
    work: &'a Path,
    peer: PathBuf,
    peer_rules: Vec<PathBuf>,
}

impl<'a> Engines<'a> {
    /// The peer gets what stands before every rule set of ours, too, and the same limits.
    pub(super) fn new(root: &'a Path, crs: &'a Path, work: &'a Path) -> Result<Self> {
        let settings = work.join("settings.conf");
        fs::write(
            &settings,
            "SecArgumentsLimit 1000\nSecRequestBodyLimit 131072\n\
             SecRequestBodyLimitAction ProcessPartial\n\
             SecAction \"id:7300100,phase:1,pass,nolog,t:none,\
             setvar:tx.blocking_paranoia_level=1,setvar:tx.detection_paranoia_level=1,\
             setvar:tx.inbound_anomaly_score_threshold=5,setvar:tx.outbound_anomaly_score_threshold=4\"\n",
        )?;
        let mut peer_rules = vec![
            root.join("detection/waf/src/rules/base.conf"),
            crs.join("crs-setup.conf.example"),
            settings,
        ];
        peer_rules.extend(rule_files(crs)?);
        Ok(Self { root, crs, work, peer: build_peer(root, work)?, peer_rules })
    }

    /// In the order of the requests.
    pub(super) fn ask<'r>(&self, requests: impl Iterator<Item = &'r [u8]>) -> Result<Vec<Said>> {
        let (mut framed, mut count) = (Vec::new(), 0);
        for request in requests {
            framed.extend_from_slice(format!("{}\n", request.len()).as_bytes());
            framed.extend_from_slice(request);
            count += 1;
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        let file = self.work.join("requests");
        fs::write(&file, framed)?;
        let mut peer = Command::new(&self.peer);
        let theirs = text_of(peer.args(&self.peer_rules).args(["--", "verdicts"]).arg(&file))?;
        let mut bench = Command::new(env!("CARGO"));
        bench.args(["bench", "--locked", "--package", "sunbeam-pipeline", "--bench", "verdicts", "--"]);
        let ours = text_of(bench.arg(self.crs).arg(&file).current_dir(self.root))?;
        let said: Vec<Said> = theirs
            .lines()
            .zip(ours.lines())
            .map(|(theirs, ours)| said(theirs, ours).with_context(|| format!("`{theirs}` beside `{ours}`")))
            .collect::<Result<_>>()?;
        if [theirs.lines().count(), ours.lines().count(), said.len()] != [count; 3] {
            bail!("of {count} requests {} were judged", said.len());
        }
        Ok(said)
    }
}

fn said(theirs: &str, ours: &str) -> Option<Said> {
    let (status, peer_rules) = theirs.split_once(' ').unwrap_or((theirs, ""));
    let (ours, own_rules) = ours.split_once(" |")?;
    let mut words = ours.splitn(7, ' ');
    let [alone, together, own] = [word(words.next()?)?, word(words.next()?)?, word(words.next()?)?];
    let (score, model, _) = (words.next()?, words.next()?, words.next()?);
    Some(Said {
        peer: status != "0",
        peer_rules: rules(peer_rules),
        alone,
        together,
        own,
        score: score.parse().ok()?,
        model: model.parse().ok()?,
        rules: rules(words.next().unwrap_or_default()),
        own_rules: rules(own_rules),
    })
}

fn word(text: &str) -> Option<Ours> {
    let (word, reason) = text.split_once(':').unwrap_or((text, ""));
    let word = match word {
        "pass" => Word::Pass,
        "doubtful" => Word::Doubtful,
        "block" => Word::Block,
        _ => return None,
    };
    Some(Ours { word, reason: reason.to_owned() })
}

/// Without those that only hold the score against its threshold.
fn rules(found: &str) -> BTreeSet<u64> {
    let rule = |word: &str| word.split_once('@')?.0.parse().ok();
    let is_about_score =
        |rule: &u64| matches!(rule, 949_110..=949_111 | 959_100..=959_101 | 980_000..=980_999 | 7_390_110);
    found.split(' ').filter_map(rule).filter(|rule| !is_about_score(rule)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let ours = "block:rules doubtful:model pass 8 -12 0 941100@ARGS:p 949110@TX:a | 7320130@ARGS:p";
        let found = said("403 941100@ 942100@ARGS:a_b", ours).unwrap();
        assert!(found.peer && found.alone_stops() && !found.differs());
        assert_eq!(
            (found.together.word, &*found.together.reason, found.own.word),
            (Word::Doubtful, "model", Word::Pass)
        );
        assert_eq!((found.score, found.model), (8, -12));
        assert_eq!((found.rules, found.peer_rules), ([941_100].into(), [941_100, 942_100].into()));
        assert_eq!(found.own_rules, [7_320_130].into());
        let nothing = said("0", "pass pass pass 0 -900 0 |").unwrap();
        assert!(!nothing.peer && nothing.rules.is_empty() && !nothing.differs());
        assert!(said("0", "pass pass 0 |").is_none());
    }
}
