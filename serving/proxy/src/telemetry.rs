// SPDX-License-Identifier: Apache-2.0
//! Traces by OTLP/gRPC: one server span a request, continued from the client's `traceparent` and handed on.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::request::Parts;
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span};
use tracing::warn;

use crate::config::Config;
use crate::context::RequestContext;

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("failed to set up OTLP to `{endpoint}`: {reason}")]
pub struct TelemetryError {
    endpoint: String,
    reason: String,
}

/// The exporter, if one is configured; replaced when `[telemetry]` changes.
#[derive(Debug, Default)]
pub(crate) struct Telemetry {
    active: ArcSwapOption<Active>,
}

#[derive(Debug)]
struct Active {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// A request's span; nothing when traces are off or it was not sampled.
#[derive(Debug, Default)]
pub(crate) struct RequestSpan(Option<Box<Span>>);

impl Telemetry {
    /// Exports as `config` says. Must be called inside the runtime that carries the connection.
    pub(crate) fn configure(&self, config: &Config) -> Result<(), TelemetryError> {
        let endpoint = &config.telemetry.otlp_endpoint;
        let next = if endpoint.is_empty() { None } else { Some(Arc::new(connect(config)?)) };
        if let Some(old) = self.active.swap(next) {
            shut_down(&old);
        }
        Ok(())
    }

    /// Sends what waits. Blocks for up to some seconds: never call it on a thread that serves.
    pub(crate) fn close(&self) {
        if let Some(old) = self.active.swap(None) {
            shut_down(&old);
        }
    }

    pub(crate) fn start_span(&self, context: &RequestContext, parts: &Parts) -> RequestSpan {
        let active = self.active.load();
        let Some(active) = active.as_ref() else { return RequestSpan(None) };
        let parent = parts
            .headers
            .get("traceparent")
            .and_then(|value| value.to_str().ok())
            .and_then(parse_traceparent)
            .map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent));
        let builder = active
            .tracer
            .span_builder(parts.method.as_str().to_owned())
            .with_kind(SpanKind::Server)
            .with_attributes([
                KeyValue::new("http.request.method", parts.method.as_str().to_owned()),
                KeyValue::new("url.scheme", context.scheme.as_str()),
                KeyValue::new("url.path", parts.uri.path().to_owned()),
                KeyValue::new("client.address", context.client_text().into_owned()),
                KeyValue::new("sunbeam.request_id", context.id.to_string()),
            ]);
        let span = active.tracer.build_with_context(builder, &parent);
        RequestSpan(Some(Box::new(span)))
    }
}

impl RequestSpan {
    /// What the backend gets, so that its spans hang below ours.
    pub(crate) fn traceparent(&self) -> Option<String> {
        let context = self.0.as_ref()?.span_context().clone();
        Some(format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8()))
    }

    pub(crate) fn finish(&mut self, status: u16, error: Option<&str>, route: &str, backend: &str) {
        let Some(mut span) = self.0.take() else { return };
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        span.set_attribute(KeyValue::new("http.route", route.to_owned()));
        span.set_attribute(KeyValue::new("sunbeam.backend", backend.to_owned()));
        if status >= 500 {
            span.set_status(Status::error(error.unwrap_or_default().to_owned()));
        }
        span.end();
    }
}

fn connect(config: &Config) -> Result<Active, TelemetryError> {
    let endpoint = &config.telemetry.otlp_endpoint;
    let exporter =
        opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build()
            .map_err(|error| TelemetryError { endpoint: endpoint.clone(), reason: error.to_string() })?;
    let resource = Resource::builder_empty()
        .with_service_name("sunbeam")
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", config.node_name()),
            KeyValue::new("deployment.environment.name", config.platform.environment.clone()),
            KeyValue::new("cloud.region", config.platform.region.clone()),
        ])
        .build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        // By the trace's id, not by the client's flag: a client must not be able to switch tracing on.
        .with_sampler(Sampler::TraceIdRatioBased(config.telemetry.trace_sample_ratio))
        .with_resource(resource)
        .build();
    Ok(Active { tracer: provider.tracer("sunbeam"), provider })
}

fn shut_down(active: &Active) {
    if let Err(error) = active.provider.shutdown() {
        warn!(%error, "some spans were not delivered");
    }
}

/// `00-<trace id>-<span id>-<flags>` (W3C Trace Context §3.2).
fn parse_traceparent(text: &str) -> Option<SpanContext> {
    let mut parts = text.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version.len() != 2 || version == "ff" || trace.len() != 32 || span.len() != 16 || flags.len() != 2 {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_exact_or_none() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(parse_traceparent(good).unwrap().span_id().to_string(), "b7ad6b7169203331");
        for bad in [
            "",
            "00",
            "00-0-0-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-zaf7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert!(parse_traceparent(bad).is_none(), "{bad}");
        }
    }
}
