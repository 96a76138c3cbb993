// SPDX-License-Identifier: Apache-2.0
//! The generated pages: `docs/reference/*.md` and `BENCHMARKS.md`, from the lists in the code.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sunbeam_config::{Key, Section as _, SectionDoc};
use sunbeam_listeners::ListenerMetrics;
use sunbeam_metrics::{ALIASES, MetricDoc};
use sunbeam_pipeline::DetectionMetrics;
use sunbeam_proxy::{Config, ProxyMetrics};
use sunbeam_waf::operators::OPERATORS;
use sunbeam_waf::seclang::DIRECTIVES;
use sunbeam_waf::seclang::ast::Variable;
use sunbeam_waf::transformations::TRANSFORMATIONS;

use crate::figures;

const GENERATED: &str = "<!-- Written by `cargo xtask docs`; change the source, not this page. -->\n\n";

pub(crate) fn write(root: &Path) -> Result<()> {
    for (path, text) in pages(root)? {
        let path = root.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

pub(crate) fn check(root: &Path) -> Result<()> {
    let mut stale = Vec::new();
    for (path, text) in pages(root)? {
        if fs::read_to_string(root.join(&path)).unwrap_or_default() != text {
            stale.push(path.display().to_string());
        }
    }
    if !stale.is_empty() {
        bail!("these pages differ from the code; run `cargo xtask docs`: {}", stale.join(", "));
    }
    println!("docs: generated pages are up to date");
    Ok(())
}

fn pages(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    Ok(vec![
        ("docs/reference/configuration.md".into(), configuration()),
        ("docs/reference/metrics.md".into(), metrics()),
        ("docs/reference/commands.md".into(), commands()),
        ("docs/reference/seclang.md".into(), seclang()),
        ("BENCHMARKS.md".into(), figures::page(root)?),
    ])
}

fn configuration() -> String {
    let mut page = format!(
        "# Configuration\n\n{GENERATED}\
         Every key with its default. An empty file means exactly these values. Tables that may stand several\n\
         times (`[[…]]`) are none by default.\n\n\
         - Read from `--config FILE`, else `$SUNBEAM_CONFIG`, else `/etc/sunbeam/config.toml`, else\n\
         \u{20}\u{20}`/etc/pingora/config.toml`. `--profile dev` layers `config.dev.toml` over `config.toml`.\n\
         - `${{NAME}}` inside a string is replaced by the environment variable (`$${{` stands for `${{`);\n\
         \u{20}\u{20}`{{ file = \"/run/secrets/x\" }}` may stand wherever a secret may.\n\
         - Unknown keys, wrong types and contradictions are errors, shown all at once with file, line and column.\n\
         - Every key can be changed by a reload except `platform.mode`, `state.path` and `telemetry.log_format`.\n\n"
    );
    for key in Config::KEYS {
        if let Some(section) = (key.nested)() {
            section_page(key.name, &section, is_list(key), &mut page);
        }
    }
    let later: Vec<String> = Config::LATER.iter().map(|name| format!("`[{name}]`")).collect();
    line(&mut page, &format!("## Not supported yet\n\nThese sections are refused: {}.", later.join(", ")));
    page
}

fn section_page(path: &str, section: &SectionDoc, repeated: bool, page: &mut String) {
    let heading = if repeated { format!("[[{path}]]") } else { format!("[{path}]") };
    line(page, &format!("## `{heading}`\n\n{}\n", one_line(section.doc)));
    page.push_str("| key | default | |\n|---|---|---|\n");
    for key in section.keys.iter().filter(|key| (key.nested)().is_none()) {
        let default = section.defaults.get(key.name).map(ToString::to_string).unwrap_or_default();
        line(page, &format!("| `{}` | `{}` | {} |", key.name, cell(&default), cell(&one_line(key.doc))));
    }
    page.push('\n');
    for key in section.keys {
        if let Some(nested) = (key.nested)() {
            section_page(&format!("{path}.{}", key.name), &nested, is_list(key), page);
        }
    }
}

fn is_list(key: &Key) -> bool {
    key.expects == "a list"
}

fn metrics() -> String {
    let mut page = format!(
        "# Metrics\n\n{GENERATED}\
         Served at `GET /metrics` on `telemetry.metrics_bind`:`telemetry.metrics_port`. Labels hold configured\n\
         names or fixed words, never a client's text: a host that no route names is `other`, an unknown method\n\
         `OTHER`.\n\n| metric | type | labels | |\n|---|---|---|---|\n"
    );
    let mut rows: Vec<&MetricDoc> =
        ProxyMetrics::TABLE.iter().chain(ListenerMetrics::TABLE).chain(DetectionMetrics::TABLE).collect();
    rows.sort_by_key(|row| row.name);
    for row in rows {
        let labels = row.labels.join(", ");
        line(
            &mut page,
            &format!("| `{}` | {} | {labels} | {} |", row.name, row.kind, cell(&one_line(row.help))),
        );
    }
    page.push_str(
        "\n## Names of the second seed\n\nServed with `telemetry.compat_metrics`, as the same numbers.\n\n",
    );
    page.push_str("| name | the same as |\n|---|---|\n");
    for alias in ALIASES {
        let labels: Vec<String> =
            alias.labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        line(&mut page, &format!("| `{}` | `{}{labels}` |", alias.name, alias.of));
    }
    page
}

fn commands() -> String {
    let mut page = format!("# Commands\n\n{GENERATED}");
    let mut root = sunbeam_cli::command();
    root.build();
    command_page(&mut root, "", &mut page);
    page
}

fn command_page(command: &mut clap::Command, above: &str, page: &mut String) {
    let name = format!("{above}{}", command.get_name());
    let help = command.clone().disable_help_subcommand(true).term_width(100).render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    line(page, &format!("## `{name}`\n\n```text\n{}\n```\n", help.join("\n").trim_end()));
    for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
        command_page(inner, &format!("{name} "), page);
    }
}

/// What rule files may say.
fn seclang() -> String {
    let mut page = format!(
        "# SecLang\n\n{GENERATED}\
         What rule files may say, and what of it has no effect here: each such directive warns at start, at a reload, in\n\
         `sunbeam validate` and in `sunbeam waf rules`, with file and line. What is not listed is an error.\n\
         [waf.md](../waf.md) tells what differs from ModSecurity.\n\n## Directives\n\n\
         | directive | |\n|---|---|\n"
    );
    let mut rows: Vec<_> = DIRECTIVES.iter().collect();
    rows.sort_by_key(|row| row.name.to_ascii_lowercase());
    for row in rows.iter().filter(|row| row.ignored_because().is_none()) {
        let refused = if row.is_refused() { "; refused: not supported" } else { "" };
        line(&mut page, &format!("| `{}` | {}{refused} |", row.name, cell(row.arguments)));
    }
    page.push_str("\n## Directives without effect\n\n| directive | because |\n|---|---|\n");
    for row in &rows {
        if let Some(why) = row.ignored_because() {
            line(&mut page, &format!("| `{}` | {} |", row.name, cell(why)));
        }
    }
    page.push_str("\n## Operators\n\n| operator | |\n|---|---|\n");
    for operator in OPERATORS {
        let names = named('@', operator.name, operator.aliases);
        line(&mut page, &format!("| {names} | {} |", cell(&one_line(operator.doc))));
    }
    page.push_str("\n## Transformations\n\n| transformation | |\n|---|---|\n");
    for transformation in TRANSFORMATIONS {
        let names = named(' ', transformation.name, transformation.aliases);
        line(&mut page, &format!("| {names} | {} |", cell(&one_line(transformation.doc))));
    }
    let variables: Vec<String> =
        Variable::ALL.iter().map(|variable| format!("`{}`", variable.as_str())).collect();
    line(&mut page, &format!("\n## Variables\n\n{}", variables.join(", ")));
    page
}

/// A name and its aliases, each with a mark before it.
fn named(mark: char, name: &str, aliases: &[&str]) -> String {
    let mark = mark.to_string();
    let all = std::iter::once(&name).chain(aliases);
    all.map(|name| format!("`{}{name}`", mark.trim())).collect::<Vec<_>>().join(", ")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Appends a line.
pub(crate) fn line(page: &mut String, text: &str) {
    page.push_str(text);
    page.push('\n');
}
