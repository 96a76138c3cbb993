// SPDX-License-Identifier: Apache-2.0
//! End-to-end tests, one module a subject, one binary.

mod auth;
mod browser;
mod content;
mod examples;
mod grpc;
mod http;
mod passthrough;
mod routing;
mod sight;
mod websocket;
