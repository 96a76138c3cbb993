// SPDX-License-Identifier: Apache-2.0
//! Decisions: what the API's pages about them answer.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sunbeam_decisions::{Class, Cursor, IdPrefix, Page, Query, ReadError, Reader, text_hash};
use sunbeam_pipeline::Decision;
use sunbeam_traffic::Layer;

use super::exceptions;
use super::lists::Refused;
use crate::core::Core;
use crate::judging::people;
use crate::why::kept::{Glimpse, Kept};
use crate::why::labels::{self, Label};
use crate::why::refused;
use crate::why::store::{decision_number, layer_number};
use crate::why::suspicion::{LikeIt, Suspicion};

/// Decisions of a page.
const LIMIT_MAX: usize = 1_000;
const LIMIT: usize = 50;

/// Decisions like one that are looked at.
const LIKE_IT_MAX: usize = 2_000;

/// Other decisions about a client that are looked at.
const SAME_CLIENT_MAX: usize = 200;

/// A decision is written some 50 ms after its answer's last byte.
const LOOK_EVERY: Duration = Duration::from_millis(60);
const LOOKS_AGAIN: u32 = 12;

/// Digits of an id that name it.
const DIGITS_MIN: usize = 8;

/// `GET /api/v1/decisions`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DecisionsQuery {
    id: Option<String>,
    ip: Option<String>,
    host: Option<String>,
    /// Whole, or what it begins with and a `*`.
    path: Option<String>,
    layer: Option<String>,
    decision: Option<String>,
    reason: Option<String>,
    /// The number of a WAF's rule.
    rule: Option<u64>,
    /// RFC 3339.
    since: Option<String>,
    until: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

impl From<ReadError> for Refused {
    fn from(error: ReadError) -> Self {
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        Self::Failed(format!("{error}: {source}"))
    }
}

/// Those that fit, newest first, a page of them.
pub(super) fn search(core: &Core, asked: &DecisionsQuery) -> Result<Value, Refused> {
    let reader = reader(core)?;
    let limit = asked.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Refused::Wrong(format!("`limit` is from 1 to {LIMIT_MAX}")));
    }
    let after: Option<Cursor> = parsed("cursor", asked.cursor.as_deref())?;
    let client = asked.ip.as_deref().map(|address| as_kept(core, address)).transpose()?;
    let filter = |text: &str| fits(asked, client.as_deref(), text);
    let prefix = asked.path.as_deref().and_then(|path| path.strip_suffix('*'));
    let query = Query {
        id: parsed::<IdPrefix>("id", asked.id.as_deref())?,
        client: client.as_deref().map(text_hash),
        host: asked.host.as_deref().map(text_hash),
        path: asked.path.as_deref().filter(|_| prefix.is_none()).map(text_hash),
        path_prefix: prefix,
        layer: asked.layer.as_deref().map(layer).transpose()?,
        decision: asked.decision.as_deref().map(decision).transpose()?.map(decision_number),
        class: None,
        from_micros: moment("since", asked.since.as_deref())?,
        until_micros: moment("until", asked.until.as_deref())?,
        filter: Some(&filter),
    };
    let page = reader.search(&query, after, limit)?;
    let next = page.next.map(|next| next.to_string());
    let kept: Vec<Value> = kept_of(&page).map(|kept| kept.whole).collect();
    Ok(json!({
        "decisions": kept,
        "next": next,
        "is_cut_short": page.is_cut_short,
        "damaged": page.damaged,
        "rows_examined": page.rows_examined,
        "texts_read": page.texts_read,
    }))
}

/// One, with what is like it and whether it looks like a mistake.
pub(super) fn decision_of(core: &Core, id: &str) -> Result<Value, Refused> {
    let kept = find(core, id)?;
    let (like_it, suspicion) = suspicion_of(core, &kept)?;
    let (remedy, means) = exceptions::remedy(core, &kept, &suspicion);
    Ok(json!({
        "decision": kept.whole,
        "like_it": like_it,
        "suspicion": suspicion,
        "remedy": remedy,
        "remedy_means": means,
    }))
}

/// What is like it, and whether it looks like a mistake.
pub(super) fn suspicion_of(core: &Core, kept: &Kept) -> Result<(LikeIt, Suspicion), Refused> {
    let reader = reader(core)?;
    let (like_it, same_client) = (like_it(reader, kept)?, same_client(reader, kept)?);
    let suspicion = Suspicion::of(kept, &like_it, &same_client);
    Ok((like_it, suspicion))
}

/// `POST /api/v1/decisions/{id}/label`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LabelRequest {
    label: Label,
}

/// Somebody who knows says what a request was. On the disk before it is answered.
pub(super) fn label(core: &Core, id: &str, request: LabelRequest) -> Result<Value, Refused> {
    let kept = find(core, id)?;
    let labels = labels::put(core.state.folder(), &kept, request.label)
        .map_err(|error| Refused::Failed(error.to_string()))?;
    let counts = people::label(core, &kept, request.label);
    Ok(json!({
        "success": true,
        "message": format!(
            "`{}` is labelled {}; {counts}; {labels} labels are in `{}`, which `sunbeam learn --input` takes",
            kept.record.request_id,
            request.label.as_str(),
            labels::place(core.state.folder()).display()
        ),
        "undo": null,
    }))
}

/// The one that an id means, or its beginning.
pub(super) fn find(core: &Core, id: &str) -> Result<Kept, Refused> {
    let digits = id.bytes().filter(u8::is_ascii_hexdigit).count();
    let prefix: IdPrefix = id.parse().map_err(|error| Refused::Wrong(format!("{error}")))?;
    if digits < DIGITS_MIN {
        return Err(Refused::Wrong(format!("an id is named by {DIGITS_MIN} digits at least")));
    }
    let query = Query { id: Some(prefix), ..Query::default() };
    let reader = reader(core)?;
    let mut page = reader.search(&query, None, 2)?;
    // It may be on its way: whoever asks from a page's number asks at once.
    for _ in 0..LOOKS_AGAIN {
        if !page.entries.is_empty() {
            break;
        }
        std::thread::sleep(LOOK_EVERY);
        page = reader.search(&query, None, 2)?;
    }
    let mut found = kept_of(&page);
    let (first, second) = (found.next(), found.next());
    match (first, second) {
        (Some(first), Some(second)) if first.record.request_id != second.record.request_id => {
            Err(Refused::Conflict(format!(
                "`{id}` is the beginning of several ids: `{}`, `{}`",
                first.record.request_id, second.record.request_id
            )))
        }
        (Some(first), _) => Ok(first),
        (None, _) => Err(Refused::Missing(missing(core, id))),
    }
}

/// What may have become of it: only what can be, by what was counted since the start.
fn missing(core: &Core, id: &str) -> String {
    let section = &core.shared.snapshot().config.decisions;
    let counts = core.shared.decisions.counts();
    let mut causes = vec![format!(
        "it passed without anybody objecting (of those {} % are kept), also where its backend then failed or its auth server \
         said no",
        section.sample_passes * 100.0
    )];
    if counts.sampled > 0 {
        causes.push(format!(
            "it was one of {} since the start of which others like it are kept, as in a flood or after an automatic block: \
             `sunbeam why ADDRESS` shows what is kept about its client",
            counts.sampled
        ));
    }
    if counts.failed > 0 {
        causes.push(format!(
            "it was one of {} that could not be written: is the disk full? The log says why",
            counts.failed
        ));
    }
    if counts.dropped > 0 {
        causes.push(format!("it was one of {} for which the disk was too slow", counts.dropped));
    }
    causes.push("its answer is not over yet: ask again then".to_owned());
    causes.push(format!("it is older than {} days", section.max_age_days));
    causes.push("the application or another node answered it".to_owned());
    format!("nothing is kept about `{}`. Either {}", id.escape_debug(), causes.join("; or "))
}

/// The same layer for the same reason on the same route.
fn like_it(reader: &Reader, kept: &Kept) -> Result<LikeIt, Refused> {
    let record = &kept.record;
    let filter = |text: &str| Glimpse::of(text).is_some_and(|other| other.is_like(record));
    // What passed has no layer: without its class, everything else would be read for it.
    let class = record.layer.is_empty().then_some(Class::Passes);
    let query = Query { layer: number_of(record), class, filter: Some(&filter), ..Query::default() };
    let page = reader.search(&query, None, LIKE_IT_MAX)?;
    let found = page.entries.iter().filter_map(|entry| Glimpse::of(&entry.text));
    Ok(LikeIt::of(found, page.next.is_some()))
}

fn same_client(reader: &Reader, kept: &Kept) -> Result<Vec<Kept>, Refused> {
    let address = kept.record.client_ip.as_str();
    let filter = |text: &str| Glimpse::of(text).is_some_and(|other| other.client_ip == address);
    let query = Query { client: Some(text_hash(address)), filter: Some(&filter), ..Query::default() };
    let page = reader.search(&query, None, SAME_CLIENT_MAX)?;
    Ok(kept_of(&page).filter(|other| !other.record.layer.is_empty()).collect())
}

fn number_of(record: &sunbeam_traffic::AuditRecord) -> Option<u8> {
    number_of_layer(&record.layer)
}

fn number_of_layer(name: &str) -> Option<u8> {
    let layer = Layer::ALL.into_iter().find(|layer| layer.as_str() == name).map(layer_number);
    layer.or_else(|| refused::number_of(name))
}

/// What can be read of a page.
pub(super) fn kept_of(page: &Page) -> impl Iterator<Item = Kept> {
    page.entries.iter().filter_map(|entry| Kept::of(&entry.text))
}

fn fits(asked: &DecisionsQuery, client: Option<&str>, text: &str) -> bool {
    let is_plain = client.is_none() && asked.host.is_none() && asked.path.is_none();
    if is_plain && asked.reason.is_none() && asked.rule.is_none() {
        return true;
    }
    let Some(kept) = Kept::of(text) else { return false };
    let record = kept.record;
    let path_fits = |path: &String| match path.strip_suffix('*') {
        Some(prefix) => record.path.starts_with(prefix),
        None => record.path == *path,
    };
    client.is_none_or(|client| record.client_ip == client)
        && asked.host.as_ref().is_none_or(|host| record.host == *host)
        && asked.path.as_ref().is_none_or(path_fits)
        && asked.reason.as_ref().is_none_or(|reason| record.reason == *reason)
        && asked.rule.is_none_or(|rule| record.rules.contains(&rule))
}

/// What is kept.
pub(super) fn reader(core: &Core) -> Result<&Reader, Refused> {
    let decisions = &core.shared.decisions;
    decisions.reader().ok_or_else(|| match decisions.error() {
        Some(error) => Refused::Conflict(format!(
            "no decisions are kept: their store could not be opened at the start: {error}; mend that, and restart the node"
        )),
        None => Refused::Conflict("no decisions are kept: `decisions.max_bytes` is 0".to_owned()),
    })
}

/// An address as records have it, by `audit.client_ip`.
fn as_kept(core: &Core, text: &str) -> Result<String, Refused> {
    let address: IpAddr =
        text.parse().map_err(|_| Refused::Wrong(format!("`{}` is no address", text.escape_debug())))?;
    Ok(core.shared.address_text(address, &core.shared.snapshot().config.audit, Timestamp::now()))
}

fn layer(text: &str) -> Result<u8, Refused> {
    number_of_layer(text).ok_or_else(|| Refused::Wrong(format!("`{}` is no layer", text.escape_debug())))
}

fn decision(text: &str) -> Result<Decision, Refused> {
    let found = Decision::ALL.into_iter().find(|decision| decision.as_str() == text);
    found.ok_or_else(|| Refused::Wrong("`decision` is pass, observe, challenge or block".to_owned()))
}

fn moment(name: &str, text: Option<&str>) -> Result<Option<u64>, Refused> {
    let at: Option<Timestamp> = parsed(name, text)?;
    Ok(at.map(|at| u64::try_from(at.as_microsecond()).unwrap_or(0)))
}

fn parsed<T: std::str::FromStr>(name: &str, text: Option<&str>) -> Result<Option<T>, Refused>
where
    T::Err: std::fmt::Display,
{
    text.map(str::parse).transpose().map_err(|error| Refused::Wrong(format!("`{name}`: {error}")))
}
