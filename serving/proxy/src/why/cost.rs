// SPDX-License-Identifier: Apache-2.0
//! A request's own way without sockets, from its head through judging to its end: what a benchmark times with the decision
//! store and without it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use http::Request;
use http::header;
use http::request::Parts;
use sunbeam_config::Loaded;
use sunbeam_listeners::Scheme;
use sunbeam_pipeline::{Decision, Scratch};
use sunbeam_routing::Route;
use tokio::runtime::Runtime;

use crate::config::Config;
use crate::context::{ConnectionInfo, RequestContext};
use crate::node::{StartError, make_shared};
use crate::service::judge;
use crate::share::Shares;
use crate::shared::Shared;

/// See the module.
#[derive(Debug)]
pub struct RequestCosts {
    shared: Arc<Shared>,
    connection: Rc<ConnectionInfo>,
    route: Arc<Route>,
    parts: Parts,
    scratch: Scratch,
    /// Holds what tasks of the node's parts run on.
    _runtime: Runtime,
}

impl RequestCosts {
    /// Ready for requests for `target` on the configuration's first route, as a browser sends them. `None`: the
    /// configuration has no route, or the target is none.
    ///
    /// # Errors
    /// What of the configuration cannot be started.
    pub fn new(loaded: Loaded<Config>, target: &str) -> Result<Option<Self>, StartError> {
        let runtime = Runtime::new()?;
        let (shared, _) = make_shared(loaded.config, loaded.sources, None, &runtime)?;
        let shared = Arc::new(shared);
        let peer = SocketAddr::from((Ipv4Addr::new(198, 51, 100, 7), 40_000));
        let permit = shared.guard.admit(peer.ip());
        let request = Request::builder()
            .uri(target)
            .header(header::HOST, "shop.example")
            .header(
                header::USER_AGENT,
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            )
            .header(header::ACCEPT, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
            .header(header::ACCEPT_LANGUAGE, "de,en;q=0.5")
            .header(header::COOKIE, "theme=dark")
            .body(());
        let route = shared.snapshot().table.routes().first().map(Arc::clone);
        let (Some(permit), Ok(request), Some(route)) = (permit, request, route) else { return Ok(None) };
        let shares = Shares::new(Arc::clone(&shared.guard));
        let connection = Rc::new(ConnectionInfo::new(peer, Scheme::Http, "", permit, &shares));
        let parts = request.into_parts().0;
        Ok(Some(Self { shared, connection, route, parts, scratch: Scratch::default(), _runtime: runtime }))
    }

    /// One request of a client of the network with this number. What was decided.
    pub fn request(&mut self, network: u32) -> Option<Decision> {
        let mut context = RequestContext::new(&self.shared, &self.connection, &self.parts);
        let [_, first, second, third] = network.to_be_bytes();
        context.client = IpAddr::from([23_u8.wrapping_add(first), second, third, 7]);
        context.host = "shop.example".to_owned();
        context.route = Some(Arc::clone(&self.route));
        // Where it is blocked, its page is not what is asked about.
        let is_passed = judge(&mut context, &self.route, &self.parts.headers, &mut self.scratch).is_ok();
        context.status = if is_passed { 200 } else { 403 };
        context.note_answer(false);
        context.judged.map(|judged| judged.decision)
    }

    /// Decisions that were written, and those that others stand for.
    pub fn written_and_sampled(&self) -> (u64, u64) {
        let counts = self.shared.decisions.counts();
        (counts.written, counts.sampled)
    }

    /// Nanoseconds that this thread has worked: what threads beside it do is not the request's.
    pub fn worked_ns() -> u64 {
        crate::inspect::cpu_time()
    }
}
