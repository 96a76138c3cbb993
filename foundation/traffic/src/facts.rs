// SPDX-License-Identifier: Apache-2.0
//! A request as judging sees it.

use std::net::IpAddr;

/// What is known of a request before anything was decided. Everything in it is a client's word, but for the
/// addresses and the route.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// Whose request it is.
    pub client: IpAddr,
    /// It carries fields by which proxies say whom they speak for, from a peer that is not trusted.
    pub has_untrusted_forwarding: bool,
    /// The route's place in the configuration.
    pub route: usize,
    /// `GET`
    pub method: &'a str,
    /// Lower case, without port.
    pub host: &'a str,
    /// As sent.
    pub path: &'a str,
    /// As sent; empty when there is none.
    pub query: &'a str,
    /// Empty when absent, like the fields below; what is no text in it is replaced, as in the audit record.
    pub user_agent: &'a str,
    /// `Referer`
    pub referer: &'a [u8],
    /// `Accept`
    pub accept: &'a [u8],
    /// `Accept-Language`
    pub accept_language: &'a [u8],
    /// Values of all `Cookie` lines.
    pub cookies: &'a [&'a [u8]],
    /// `Authorization`
    pub authorization: &'a [u8],
    /// The announced length of the body.
    pub content_length: u64,
    /// `Content-Type`
    pub content_type: &'a [u8],
    /// As much of the body as is at hand: nothing where it was not waited for.
    pub body: &'a [u8],
    /// A fingerprint of which fields came and in what order.
    pub header_order: u64,
    /// The fingerprint of the client's TLS; empty for plain HTTP.
    pub ja4: &'a str,
    /// A page made the client's browser send it ([`FetchMetadata`](crate::FetchMetadata)).
    pub is_page_made: bool,
}

impl RequestFacts<'_> {
    /// A `GET /` of nobody, for whoever fills in the rest.
    pub const EMPTY: RequestFacts<'static> = RequestFacts {
        client: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        has_untrusted_forwarding: false,
        route: 0,
        method: "GET",
        host: "",
        path: "/",
        query: "",
        user_agent: "",
        referer: b"",
        accept: b"",
        accept_language: b"",
        cookies: &[],
        authorization: b"",
        content_length: 0,
        content_type: b"",
        body: b"",
        header_order: 0,
        ja4: "",
        is_page_made: false,
    };
}
