// SPDX-License-Identifier: Apache-2.0
//! What a request and its answer say, as variables.

use std::borrow::Cow;
use std::net::IpAddr;

use super::Transaction;
use super::state::Interruption;
use crate::bodies::{content_type::MediaType, percent};

use crate::seclang::ast::{BodyProcessor, Variable};

/// Who talks with whom.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The client.
    pub client: IpAddr,
    /// Its port.
    pub client_port: u16,
    /// The address that it reached.
    pub server: IpAddr,
    /// That port.
    pub server_port: u16,
}

/// The head of a request, as it came.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// `GET`
    pub method: &'a [u8],
    /// What the request line asks for, not decoded.
    pub target: &'a [u8],
    /// `HTTP/1.1`
    pub protocol: &'a [u8],
    /// Names and values in order.
    pub headers: &'a [(&'a [u8], &'a [u8])],
    /// Names the request in audit logs.
    pub id: &'a str,
}

/// The head of an answer.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// `200`
    pub status: u16,
    /// `HTTP/1.1`
    pub protocol: &'a [u8],
    /// Names and values in order.
    pub headers: &'a [(&'a [u8], &'a [u8])],
}

impl Transaction {
    /// The connection, before anything else.
    pub fn connection(&mut self, ends: &Ends) {
        let state = &mut self.state;
        for (variable, address, port, its_port) in [
            (Variable::RemoteAddr, ends.client, Variable::RemotePort, ends.client_port),
            (Variable::ServerAddr, ends.server, Variable::ServerPort, ends.server_port),
        ] {
            state.put(variable, address.to_string().as_bytes());
            state.put_number(port, its_port.into());
        }
    }

    /// The head; phase 1.
    pub fn request_head(&mut self, head: &RequestHead<'_>) -> Option<&Interruption> {
        self.line(head);
        self.headers(head.headers);
        self.state.put(Variable::UniqueId, head.id.as_bytes());
        self.combined_size();
        if self.rules.asks_the_time() {
            self.tell_time();
        }
        self.full_request(Some(head), b"");
        self.phase(1)
    }

    /// `FULL_REQUEST`, where rules look at it: the line, the headers, an empty line, and what is looked at of the body
    /// once that is there.
    pub(super) fn full_request(&mut self, head: Option<&RequestHead<'_>>, body: &[u8]) {
        if !self.rules.reads(Variable::FullRequest) && !self.rules.reads(Variable::FullRequestLength) {
            return;
        }
        let state = &mut self.state;
        let before = state.of(Variable::FullRequest).first().map(|entry| entry.value);
        let mut text = before.map(|before| state.texts.get(before).to_vec()).unwrap_or_default();
        if let Some(head) = head {
            text.extend_from_slice(&[head.method, head.target, head.protocol].join(&b' '));
            text.push(b'\n');
            for (name, value) in head.headers {
                text.extend_from_slice(&[*name, value].join(&b": "[..]));
                text.push(b'\n');
            }
            text.push(b'\n');
        }
        text.extend_from_slice(body);
        state.put(Variable::FullRequest, &text);
        state.put_number(Variable::FullRequestLength, text.len());
    }

    fn line(&mut self, head: &RequestHead<'_>) {
        let state = &mut self.state;
        state.put(Variable::RequestMethod, head.method);
        // A line without a version is that of HTTP/0.9.
        let protocol = if head.protocol.is_empty() { b"HTTP/0.9" } else { head.protocol };
        state.put(Variable::RequestProtocol, protocol);
        state.put(Variable::RequestLine, &[head.method, head.target, head.protocol].join(&b' '));
        state.put(Variable::RequestUriRaw, head.target);
        let local = without_authority(head.target);
        state.put(Variable::RequestUri, local);
        let end = memchr::memchr(b'?', local).unwrap_or(local.len());
        let (path, query) = local.split_at(end);
        let query = query.get(1..).unwrap_or_default();
        state.put(Variable::QueryString, query);
        let path = decoded(path);
        state.put(Variable::RequestFilename, &path);
        // There are no scripts here, behind whose name more of the path could stand.
        state.put(Variable::PathInfo, &path);
        let base = memchr::memrchr2(b'/', b'\\', &path).map_or(0, |at| at + 1);
        state.put(Variable::RequestBasename, path.get(base..).unwrap_or_default());
        self.arguments(query, Variable::ArgsGet, Variable::ArgsGetNames);
    }

    fn headers(&mut self, headers: &[(&[u8], &[u8])]) {
        for (name, value) in headers {
            self.state.add(Variable::RequestHeaders, name, value);
            self.state.add(Variable::RequestHeadersNames, name, name);
            if name.eq_ignore_ascii_case(b"cookie") {
                self.cookies(value);
            } else if name.eq_ignore_ascii_case(b"host") {
                let end = memchr::memchr(b':', value).unwrap_or(value.len());
                self.state.put(Variable::ServerName, value.get(..end).unwrap_or_default());
            } else if name.eq_ignore_ascii_case(b"content-type") {
                self.state.processor = processor(value);
            } else if name.eq_ignore_ascii_case(b"authorization") {
                let end = memchr::memchr(b' ', value).unwrap_or(value.len());
                self.state.put(Variable::AuthType, value.get(..end).unwrap_or_default());
            }
        }
        let processor = self.state.processor.map_or("", BodyProcessor::as_str);
        self.state.put(Variable::ReqbodyProcessor, processor.as_bytes());
        for zero in [
            Variable::ReqbodyError,
            Variable::MultipartStrictError,
            Variable::MultipartUnmatchedBoundary,
            Variable::InboundDataError,
            Variable::OutboundDataError,
        ] {
            self.state.put(zero, b"0");
        }
        if self.rules.reads(Variable::ModsecBuild) {
            self.state.put(Variable::ModsecBuild, BUILD);
        }
    }

    /// The answer's head; phase 3.
    pub fn response_head(&mut self, head: &ResponseHead<'_>) -> Option<&Interruption> {
        let state = &mut self.state;
        state.put_number(Variable::ResponseStatus, head.status.into());
        state.put(Variable::ResponseProtocol, head.protocol);
        let line = [head.protocol, head.status.to_string().as_bytes()].join(&b' ');
        state.put(Variable::StatusLine, &line);
        for (name, value) in head.headers {
            state.add(Variable::ResponseHeaders, name, value);
            state.add(Variable::ResponseHeadersNames, name, name);
            if name.eq_ignore_ascii_case(b"content-type") {
                let end = memchr::memchr(b';', value).unwrap_or(value.len());
                let kind = value.get(..end).unwrap_or_default().trim_ascii().to_ascii_lowercase();
                state.put(Variable::ResponseContentType, &kind);
            } else if name.eq_ignore_ascii_case(b"content-length") {
                state.put(Variable::ResponseContentLength, value);
            }
        }
        self.phase(3)
    }

    /// Whether the body of the answer whose head was seen is to be looked at.
    pub fn looks_at_response_body(&self) -> bool {
        let kind = self.state.of(Variable::ResponseContentType).first();
        let kind = kind.map_or(&b""[..], |entry| self.state.texts.get(entry.value));
        let types = &self.rules.settings.response_types;
        self.state.response_body && types.iter().any(|known| known.as_bytes() == kind)
    }

    /// The answer's body, as far as it is looked at; phase 4.
    /// `is_cut`: there is more of it, which nobody will see.
    pub fn response_body(&mut self, body: &[u8], is_cut: bool) -> Option<&Interruption> {
        if self.looks_at_response_body() {
            let seen = body.get(..self.rules.settings.response_body_max).unwrap_or(body);
            let is_cut = is_cut || seen.len() < body.len();
            self.state.put(Variable::OutboundDataError, if is_cut { b"1" } else { b"0" });
            let body = seen;
            self.state.put(Variable::ResponseBody, body);
            self.state.put_number(Variable::ResponseContentLength, body.len());
        }
        self.phase(4)
    }

    /// Everything is over; phase 5.
    pub fn end(&mut self) {
        self.phase(5);
    }
}

/// `MODSEC_BUILD`: rules ask for a version from which on the language has something. This is that of ModSecurity 3.0.0.
const BUILD: &[u8] = b"030000000";

/// A target in absolute form names its host, too.
fn without_authority(target: &[u8]) -> &[u8] {
    let Some(colon) = memchr::memmem::find(target, b"://") else { return target };
    if target.first() == Some(&b'/') || !target.iter().take(colon).all(u8::is_ascii_alphanumeric) {
        return target;
    }
    let rest = target.get(colon + 3..).unwrap_or_default();
    memchr::memchr2(b'/', b'?', rest).and_then(|at| rest.get(at..)).unwrap_or(b"/")
}

/// Which of the bodies that every rule set reads.
fn processor(content_type: &[u8]) -> Option<BodyProcessor> {
    let kind = MediaType::parse(content_type);
    if kind.is("application/x-www-form-urlencoded") {
        Some(BodyProcessor::UrlEncoded)
    } else if kind.is("multipart/form-data") {
        Some(BodyProcessor::Multipart)
    } else {
        None
    }
}

/// A path as the backend will read it.
fn decoded(path: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', path).is_none() {
        return Cow::Borrowed(path);
    }
    let mut output = Vec::with_capacity(path.len());
    let mut rest = path;
    // Not as in a form: a plus is a plus.
    while let Some(at) = memchr::memchr(b'+', rest) {
        percent::decode(rest.get(..at).unwrap_or_default(), &mut output);
        output.push(b'+');
        rest = rest.get(at + 1..).unwrap_or_default();
    }
    percent::decode(rest, &mut output);
    Cow::Owned(output)
}
