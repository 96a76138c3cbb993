// SPDX-License-Identifier: Apache-2.0
//! The page: chapters in the order of [`CHAPTERS`], one style, nothing to load. A policy in its head forbids scripts
//! and loads even if a text should get out of its place.

mod chart;
mod evaluations;
mod evidence;
mod markup;
mod numbers;
mod summary;

use crate::Report;
use evaluations::Judged;
use markup::{Markup, text};

/// The page of a report: a whole HTML document. `n log n` in the samples; its size is bounded by the number of
/// rows and evaluations, never by the samples.
pub fn html(report: &Report) -> String {
    let judged: Vec<Judged<'_>> = report.evaluations.iter().take(EVALUATIONS_MAX).map(Judged::new).collect();
    let material = Material { report, judged };
    let contents: Markup = CHAPTERS.iter().map(Chapter::link).collect();
    let chapters: Markup = CHAPTERS.iter().map(|chapter| chapter.html(&material)).collect();
    let (title, created) = (text(&report.title), text(&report.created));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>{title}</h1><p>{created}</p>\n<nav aria-label=\"Chapters\"><ul>{contents}</ul></nav></header>\n\
         <main>\n{chapters}</main>\n</body>\n</html>\n"
    )
}

/// More are counted, not shown.
const EVALUATIONS_MAX: usize = 32;

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STYLE: &str = include_str!("style.css");

/// What chapters are written from.
#[derive(Debug)]
struct Material<'a> {
    report: &'a Report,
    judged: Vec<Judged<'a>>,
}

/// A part of the page.
struct Chapter {
    id: &'static str,
    title: &'static str,
    /// What is in it; nothing where there is nothing to tell.
    write: fn(&Material<'_>) -> Markup,
}

/// In the order of the page.
const CHAPTERS: &[Chapter] = &[
    Chapter { id: "summary", title: "Summary", write: summary::summary },
    Chapter { id: "model-card", title: "Model card", write: summary::model_card },
    Chapter { id: "threshold", title: "At the threshold", write: evaluations::confusion },
    Chapter { id: "roc", title: "ROC", write: evaluations::roc },
    Chapter { id: "precision-recall", title: "Precision and recall", write: evaluations::precision_recall },
    Chapter { id: "reliability", title: "Reliability", write: evaluations::reliability_chapter },
    Chapter { id: "sources", title: "Sources", write: evidence::sources },
    Chapter { id: "robustness", title: "Robustness", write: evidence::robustness },
    Chapter { id: "drift", title: "Drift", write: evidence::drift },
    Chapter { id: "heuristics", title: "Heuristics", write: evidence::heuristics },
    Chapter { id: "tables", title: "Further tables", write: summary::tables },
    Chapter { id: "hashes", title: "Hashes", write: summary::hashes },
];

impl Chapter {
    fn link(&self) -> Markup {
        Markup(format!("<li><a href=\"#{}\">{}</a></li>", self.id, self.title))
    }

    fn html(&self, material: &Material<'_>) -> Markup {
        let Self { id, title, write } = self;
        let written = write(material);
        let body = if written.0.is_empty() { markup::paragraph("Nothing was recorded.") } else { written };
        Markup(format!(
            "<section id=\"{id}\" aria-labelledby=\"{id}-heading\"><h2 id=\"{id}-heading\">{title}</h2>\n{body}</section>\n"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measures::{Scored, tests::samples};
    use crate::{
        Aim, ComparisonRow, DriftRow, Evaluation, HeuristicRow, RobustnessRow, SourceLabel, SourceRow, Table,
    };

    const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'</title><script>alert(2)</script>";

    fn evaluation(name: &str, attacks: &[f64], benign: &[f64]) -> Evaluation {
        Evaluation { name: name.into(), samples: samples(attacks, benign), threshold: 0.5 }
    }

    /// Every text of it is the given one.
    fn report_of(text: &str) -> Report {
        let string = || text.to_owned();
        Report {
            title: string(),
            created: string(),
            model_card: vec![(string(), string())],
            sources: vec![SourceRow { source: string(), label: SourceLabel::Benign, rows: 2995, blocked: 0 }],
            evaluations: vec![evaluation(text, &[0.9, 0.8, 0.2], &[0.1, 0.6, 0.3, 0.05])],
            comparisons: vec![ComparisonRow {
                measure: string(),
                old: Some(0.8125),
                new: Some(0.9375),
                aim: Aim::Higher,
                slack: 0.001,
            }],
            robustness: vec![RobustnessRow { what: string(), before: 0.75, after: 0.74, holds: true }],
            drift: vec![DriftRow { feature: string(), psi: Some(0.1375) }],
            heuristics: vec![HeuristicRow {
                heuristic: string(),
                rows: 2000,
                covered: 500,
                overlaps: 20,
                conflicts: 5,
                accuracy: Some(0.96),
            }],
            tables: vec![Table { caption: string(), header: vec![string()], rows: vec![vec![string()]] }],
            hashes: vec![(string(), string())],
            notes: vec![string()],
        }
    }

    fn assert_loads_nothing(name: &str, page: &str) {
        for forbidden in
            ["<script", "<img", "<link", "<iframe", "http://", "https://", "@import", "url(", " src=", "NaN"]
        {
            assert!(!page.contains(forbidden), "{name}: `{forbidden}`");
        }
        assert_eq!(page.matches("<section").count(), page.matches("</section>").count(), "{name}");
    }

    #[test]
    fn a_page_has_the_numbers() {
        let page = html(&report_of("plain"));
        assert_loads_nothing("plain", &page);
        for (name, want) in [
            ("old", "0.8125"),
            ("new", "0.9375"),
            ("the verdict", "better than the old one"),
            ("attacks caught", "66.67 %"),
            ("benign blocked", "25.00 %"),
            ("balanced accuracy", "70.83 %"),
            ("the area under the curve", "0.8333"),
            ("average precision", "0.8667"),
            ("an exact bound", "0.100 %"),
            ("drift", "0.1375"),
            ("coverage", "25.00 %"),
        ] {
            assert!(page.contains(want), "{name}: no `{want}`");
        }
    }

    #[test]
    fn what_a_client_wrote_stays_text() {
        let page = html(&report_of(HOSTILE)).replace("&lt;img src=", "");
        assert_loads_nothing("hostile", &page);
        assert!(page.contains("&lt;script&gt;alert(2)") && !page.contains("</title><script"));
        let hostile = |page: &str| page.matches("onerror").count();
        assert_eq!(
            hostile(&page),
            hostile(&html(&report_of("onerror"))),
            "each text is shown once for each place"
        );
    }

    #[test]
    fn an_empty_report_says_so() {
        let page = html(&Report::default());
        assert_loads_nothing("empty", &page);
        assert!(page.contains("Nothing was compared"));
        assert_eq!(page.matches("Nothing was recorded.").count(), CHAPTERS.len() - 1);
    }

    #[test]
    fn a_missing_class_is_named() {
        for (name, attacks, benign, want) in [
            ("attacks", &[0.9, 0.1][..], &[][..], "holds attacks only"),
            ("benign", &[], &[0.9, 0.1], "holds nothing but benign"),
            ("nothing", &[], &[], "holds no samples"),
            ("logits", &[3.0, f64::INFINITY], &[-2.0, f64::NAN], "no probabilities"),
        ] {
            let page =
                html(&Report { evaluations: vec![evaluation("set", attacks, benign)], ..Report::default() });
            assert_loads_nothing(name, &page);
            assert!(page.contains(want), "{name}: no `{want}`");
        }
    }

    #[test]
    fn a_page_does_not_grow_with_the_samples() {
        let random = |seed: u32| f64::from(seed.wrapping_mul(2_654_435_769)) / f64::from(u32::MAX);
        let samples: Vec<Scored> = (0..200_000)
            .map(|seed| Scored::new(random(seed), random(seed ^ 0x5555_0000) > 0.5, "test"))
            .collect();
        let evaluations = vec![Evaluation { name: "large".into(), samples, threshold: 0.5 }];
        let page = html(&Report { evaluations, ..Report::default() });
        assert!(page.len() < 100_000, "{}", page.len());
    }

    #[test]
    fn many_evaluations_are_counted() {
        let evaluations = vec![evaluation("set", &[0.9], &[0.1]); EVALUATIONS_MAX + 3];
        let page = html(&Report { evaluations, ..Report::default() });
        assert!(page.contains("And 3 more, not shown."));
    }
}
