// SPDX-License-Identifier: Apache-2.0
//! What a request looked like when it was judged, kept until somebody has time to weigh it. Nothing in it is copied but
//! two short texts: header values, target and body are shared with the request.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use sunbeam_features::canonical::{BodyKind, Unit, UnitSource, each_unit};
use sunbeam_pipeline::{Scratch, Weighed};
use sunbeam_tables::Moment;
use sunbeam_traffic::RequestFacts;

use crate::context::RequestContext;
use crate::snapshot::Snapshot;

/// See the module.
#[derive(Debug)]
pub(crate) struct Capture {
    snapshot: Arc<Snapshot>,
    now: Moment,
    client: IpAddr,
    has_untrusted_forwarding: bool,
    route: usize,
    method: http::Method,
    uri: http::Uri,
    host: String,
    user_agent: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    accept: Option<HeaderValue>,
    accept_language: Option<HeaderValue>,
    cookies: Vec<HeaderValue>,
    authorization: Option<HeaderValue>,
    content_type: Option<HeaderValue>,
    content_length: u64,
    body: Bytes,
    header_order: u64,
    ja4: Box<str>,
}

impl Capture {
    /// Of a request that was judged on this route, with its fields and what was looked at of its body. `None`: its head
    /// was never taken.
    pub(crate) fn of(
        context: &RequestContext,
        route: usize,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Option<Box<Self>> {
        let (method, uri) = context.method_and_uri()?;
        let facts = context.request_facts(route, "");
        let kept = |name| headers.get(name).cloned();
        Some(Box::new(Self {
            snapshot: Arc::clone(&context.snapshot),
            now: context.shared.now(),
            client: facts.client,
            has_untrusted_forwarding: facts.has_untrusted_forwarding,
            route,
            method: method.clone(),
            uri: uri.clone(),
            host: facts.host.to_owned(),
            user_agent: kept(header::USER_AGENT),
            referer: kept(header::REFERER),
            accept: kept(header::ACCEPT),
            accept_language: kept(header::ACCEPT_LANGUAGE),
            cookies: headers.get_all(header::COOKIE).iter().cloned().collect(),
            authorization: kept(header::AUTHORIZATION),
            content_type: kept(header::CONTENT_TYPE),
            content_length: facts.content_length,
            body,
            header_order: facts.header_order,
            ja4: facts.ja4.into(),
        }))
    }

    /// Bytes of the body that it holds.
    pub(crate) const fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// What of the body rules and models saw.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Its texts but the path, each whole and in its canonical form.
    pub(crate) fn each_unit(&self, visit: &mut dyn FnMut(Unit<'_>)) {
        let content_type = self.content_type.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
        let mut source = UnitSource {
            query: self.uri.query().unwrap_or_default().as_bytes(),
            body: &self.body,
            body_kind: BodyKind::of(content_type, &self.body),
            ..UnitSource::default()
        };
        let mut cookies = self.cookies.iter().map(HeaderValue::as_bytes);
        source.cookies = cookies.next().unwrap_or_default();
        let mut scratch = Vec::new();
        each_unit(&source, &mut scratch, visit);
        for cookies in cookies {
            each_unit(&UnitSource { cookies, ..UnitSource::default() }, &mut scratch, visit);
        }
    }

    /// The configuration that it was judged by.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What it comes to, and why. The client's window is what it is now: some milliseconds later.
    pub(crate) fn weigh(&self, scratch: &mut Scratch) -> Weighed {
        let bytes = |value: &Option<HeaderValue>| {
            value.as_ref().map(HeaderValue::as_bytes).unwrap_or_default().to_vec()
        };
        let cookies: Vec<&[u8]> = self.cookies.iter().map(HeaderValue::as_bytes).collect();
        let user_agent = String::from_utf8_lossy(&bytes(&self.user_agent)).into_owned();
        let facts = RequestFacts {
            client: self.client,
            has_untrusted_forwarding: self.has_untrusted_forwarding,
            route: self.route,
            method: self.method.as_str(),
            host: &self.host,
            path: self.uri.path(),
            query: self.uri.query().unwrap_or_default(),
            user_agent: &user_agent,
            referer: &bytes(&self.referer),
            accept: &bytes(&self.accept),
            accept_language: &bytes(&self.accept_language),
            cookies: &cookies,
            authorization: &bytes(&self.authorization),
            content_length: self.content_length,
            content_type: &bytes(&self.content_type),
            body: &self.body,
            header_order: self.header_order,
            ja4: &self.ja4,
            is_page_made: false,
        };
        self.snapshot.pipeline.weigh(&facts, self.now, scratch)
    }
}
