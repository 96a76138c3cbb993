// SPDX-License-Identifier: Apache-2.0
//! Answers the questions whether crawlers are who they say: by DNS, behind the requests that raised them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sunbeam_metrics::IntCounter;
use sunbeam_reputation::{Proof, Question};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, Sender, channel as bounded};
use tracing::{debug, info, warn};

use crate::core::Core;
use crate::dns_proof::{DnsProof, DnsProver};

/// Questions that wait. Whoever invents crawlers can fill it: then the next ones are asked again later.
const WAITING_MAX: usize = 1024;

/// How long it is not tried again where the system has no name servers.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// How long the system's name servers are taken for the same.
const READ_AGAIN: Duration = Duration::from_secs(300);

/// Questions that are asked at the same time.
const ASKED_MAX: usize = 16;

/// Where questions come out.
#[derive(Debug)]
pub(crate) struct Questions(Receiver<Question>);

type Ask = Box<dyn Fn(Question) -> bool + Send + Sync>;

/// Takes questions without waiting; says `false` when it is full or nobody answers.
pub(super) fn channel(dropped: IntCounter) -> (Ask, Questions) {
    let (sender, receiver): (Sender<Question>, _) = bounded(WAITING_MAX);
    let ask = move |question| {
        let is_taken = sender.try_send(question).is_ok();
        if !is_taken {
            dropped.inc();
        }
        is_taken
    };
    (Box::new(ask), Questions(receiver))
}

/// Answers until the node ends.
pub(super) async fn answer(core: Arc<Core>, mut questions: Questions) {
    let places = Arc::new(Semaphore::new(ASKED_MAX));
    let mut known: Option<Known> = None;
    while let Some(question) = questions.0.recv().await {
        let config = core.shared.snapshot();
        let servers: Vec<SocketAddr> = config.config.bots.resolvers.iter().map(|server| server.0).collect();
        let is_good = |known: &Known| {
            // Where they are the system's, it may have others by now.
            let may_rest = if known.prover.is_none() { TRY_AGAIN } else { READ_AGAIN };
            known.servers == servers
                && ((known.prover.is_some() && !servers.is_empty()) || known.made.elapsed() < may_rest)
        };
        let now = known.take().filter(is_good).unwrap_or_else(|| Known::make(servers));
        let asked = now.prover.clone();
        known = Some(now);
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let core = Arc::clone(&core);
        tokio::spawn(async move {
            let proof = match asked {
                Some(prover) => prover.prove(question.address, &question.suffixes).await,
                None => DnsProof::Unknown { why: "there is no name server".to_owned() },
            };
            note(&core, &question, proof);
            drop(place);
        });
    }
}

/// The servers that are asked.
struct Known {
    servers: Vec<SocketAddr>,
    /// None where the system has none.
    prover: Option<Arc<DnsProver>>,
    made: Instant,
}

impl Known {
    fn make(servers: Vec<SocketAddr>) -> Self {
        let prover = DnsProver::new(&servers).map(Arc::new);
        if let Err(error) = &prover {
            let error = crate::snapshot::error_chain(error);
            warn!(error, "crawlers cannot be proved: none gets their freedoms");
        }
        Self { servers, prover: prover.ok(), made: Instant::now() }
    }
}

fn note(core: &Core, question: &Question, proof: DnsProof) {
    let shared = &core.shared;
    let ttl = Duration::from_secs(shared.snapshot().pipeline.rules().bot_ttl_secs);
    let (word, proof) = match proof {
        DnsProof::Verified { name } => {
            debug!(address = %question.address, name, "a crawler is who it says");
            ("verified", Proof::Verified)
        }
        DnsProof::Refuted { name } => {
            let name = name.unwrap_or_default();
            info!(address = %question.address, name, "a client only says that it is a crawler");
            ("refuted", Proof::Refuted)
        }
        DnsProof::Unknown { why } => {
            debug!(address = %question.address, why, "it is not known whether a client is a crawler");
            ("unknown", Proof::Unknown)
        }
    };
    shared.detection.layers.crawler_proofs(word).inc();
    shared.memory.proofs.answer(question.key, proof, ttl, shared.now());
}
