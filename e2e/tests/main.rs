// SPDX-License-Identifier: Apache-2.0
//! End-to-end tests, one module a subject, one binary.

mod api;
mod auth;
mod backends;
mod browser;
mod challenge;
mod console;
mod content;
mod examples;
mod exceptions;
mod faults;
mod grpc;
mod http;
mod http1;
mod http2;
mod idle;
mod judging;
mod limits_connections;
mod limits_http;
mod one_reading;
mod passthrough;
mod reload;
mod routing;
mod sight;
mod tls;
mod uploads;
mod waf;
mod waf_bodies;
mod waf_phases;
mod websocket;
mod why;
mod why_kept;
mod why_secrets;
