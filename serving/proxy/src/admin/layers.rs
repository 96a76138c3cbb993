// SPDX-License-Identifier: Apache-2.0
//! `/api/v1/layers`: what each layer does, whether it has proven itself, and what operators say of it while the node runs.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sunbeam_decisions::Query;
use sunbeam_pipeline::{DOUBTERS, Decision, Standing};
use sunbeam_traffic::{Layer, LayerMode};

use super::decisions::{kept_of, reader};
use super::lists::Refused;
use crate::core::Core;
use crate::judging::Additions;
use crate::judging::switches::{SWITCHES_MAX, Switches, layer_of, mode_of};
use crate::snapshot::{Snapshot, rules};
use crate::why::kept::Kept;
use crate::why::store::{decision_number, layer_number};

/// Decisions about people that a plan names.
const LOOK_HUMAN_MAX: usize = 20;

/// Doubted requests that a plan counts, of each layer that decided and of each decision.
const LOOKED_AT_MAX: usize = 5_000;

/// In the text of a decision, if a layer doubted the request, and if somebody asked who has logged in. Within a client's own
/// text the quotes are escaped.
const SAYS_DOUBTED: &str = "\"doubted_by\":[\"";
const SAYS_HUMAN: &str = "\"authenticated\":true";

/// `POST /api/v1/layers`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LayerRequest {
    layer: String,
    /// By its configured name; without it: everywhere.
    #[serde(default)]
    route: Option<String>,
    /// observe, auto, enforce
    mode: String,
    #[serde(default)]
    dry_run: bool,
}

/// Every layer, everywhere and where a route differs.
pub(super) fn layers(core: &Core) -> Value {
    let shared = &core.shared;
    let running = shared.snapshot();
    let budget = running.pipeline.rules().false_positive_budget;
    let standings = shared.memory.proof.standings(budget, shared.now());
    let layers: Vec<Value> = Layer::ALL
        .into_iter()
        .map(|layer| {
            let standing = standings.iter().find(|standing| standing.layer == layer);
            let everywhere = running.pipeline.rules().mode(usize::MAX, layer);
            let routes: Vec<Value> = names(&running)
                .enumerate()
                .map(|(index, name)| (name, running.pipeline.rules().mode(index, layer)))
                .filter(|(_, mode)| *mode != everywhere)
                .map(|(name, mode)| json!({"route": name, "mode": mode.as_str()}))
                .collect();
            json!({
                "layer": layer.as_str(),
                "mode": everywhere.as_str(),
                "acts_on_doubt": acts_on_doubt(core, layer, everywhere),
                "routes": routes,
                "proof": standing.map(proof),
            })
        })
        .collect();
    json!({"budget": budget, "layers": layers})
}

fn acts_on_doubt(core: &Core, layer: Layer, mode: LayerMode) -> bool {
    mode == LayerMode::Enforce || (mode == LayerMode::Auto && core.shared.memory.proof.is_proven(layer))
}

fn proof(standing: &Standing) -> Value {
    let [lower, seen, upper] = standing.rate;
    let count = |count: sunbeam_pipeline::Count| json!({"people": count.people, "hurt": count.hurt});
    json!({
        "state": standing.why.as_str(),
        "known": count(standing.known),
        "solvers": count(standing.solvers),
        "rate": {"lower": lower, "seen": seen, "upper": upper},
        "people_missing": standing.people_missing(),
        "newcomers": standing.newcomers,
    })
}

/// The case for and against acting on doubts: what would have been stopped, and who of them looks human.
pub(super) fn plan(core: &Core) -> Result<Value, Refused> {
    let mut told = layers(core);
    let Some(all) = told.get_mut("layers").and_then(Value::as_array_mut) else { return Ok(told) };
    let mut doubted = doubted(core)?;
    for (layer, told) in Layer::ALL.into_iter().zip(all) {
        let (Some(told), Some(doubted)) = (told.as_object_mut(), doubted.remove(layer.as_str())) else {
            continue;
        };
        if told.get("proof").is_some_and(|proof| !proof.is_null()) {
            told.insert("doubted".to_owned(), doubted.told());
        }
    }
    Ok(told)
}

/// What is kept of one layer's doubts.
#[derive(Default)]
struct Doubted {
    kept: usize,
    requests: u64,
    is_cut: bool,
    look_human: Vec<(Timestamp, Value)>,
}

impl Doubted {
    fn told(mut self) -> Value {
        self.look_human.sort_by_key(|(at, _)| Reverse(*at));
        let human: Vec<Value> =
            self.look_human.into_iter().map(|(_, human)| human).take(LOOK_HUMAN_MAX).collect();
        json!({"kept": self.kept, "requests": self.requests, "is_cut": self.is_cut, "look_human": human})
    }
}

/// By the layer that doubted, whichever of them the decision names and whatever came of it: of several doubts it names
/// one, and while a layer is enforced its doubts are blocks.
fn doubted(core: &Core) -> Result<BTreeMap<String, Doubted>, Refused> {
    let reader = reader(core)?;
    let mut found: BTreeMap<String, Doubted> =
        DOUBTERS.into_iter().map(|layer| (layer.as_str().to_owned(), Doubted::default())).collect();
    let is_doubted = |text: &str| text.contains(SAYS_DOUBTED);
    // Looked for by themselves: in an attack they are few among many.
    let is_human = |text: &str| text.contains(SAYS_HUMAN) && is_doubted(text);
    let decisions = [Decision::Observed, Decision::Challenged, Decision::Blocked];
    for (layer, decision) in
        Layer::ALL.into_iter().flat_map(|layer| decisions.map(|decision| (layer, decision)))
    {
        let search = |filter, limit| {
            let query = Query {
                layer: Some(layer_number(layer)),
                decision: Some(decision_number(decision)),
                filter: Some(filter),
                ..Query::default()
            };
            reader.search(&query, None, limit)
        };
        let page = search(&is_doubted, LOOKED_AT_MAX)?;
        for kept in kept_of(&page) {
            for layer in &kept.why.doubted_by {
                let Some(doubted) = found.get_mut(layer) else { continue };
                doubted.kept += 1;
                doubted.requests += kept.why.stands_for.max(1);
            }
        }
        found.values_mut().for_each(|doubted| doubted.is_cut |= page.next.is_some());
        for kept in kept_of(&search(&is_human, LOOK_HUMAN_MAX * DOUBTERS.len())?)
            .filter(|kept| kept.why.authenticated)
        {
            for layer in &kept.why.doubted_by {
                let Some(doubted) = found.get_mut(layer) else { continue };
                doubted.look_human.push((kept.record.timestamp, human(&kept)));
            }
        }
    }
    Ok(found)
}

fn human(kept: &Kept) -> Value {
    let record = &kept.record;
    json!({
        "id": record.request_id, "client": record.client_ip, "method": record.method, "host": record.host,
        "path": record.path, "reason": record.reason, "decision": record.decision,
        "because": "whoever asks has logged in at the site",
    })
}

/// A layer does something else from the next request on.
pub(super) fn switch(core: &Core, request: &LayerRequest) -> Result<Value, Refused> {
    let LayerRequest { layer, route, mode, dry_run } = request;
    let (layer_name, mode_name) = (layer.escape_debug(), mode.escape_debug());
    let layer = layer_of(layer).ok_or_else(|| {
        Refused::Wrong(format!(
            "`{layer_name}` is no layer that can be switched: ddos, scanner, rate_limit, waf"
        ))
    })?;
    let mode = mode_of(mode)
        .ok_or_else(|| Refused::Wrong(format!("`{mode_name}` is no mode: observe, auto, enforce")))?;
    let route = route.as_deref();
    let mut before = LayerMode::Off;
    let wanted = RefCell::new(Switches::default());
    let change = |running: &Snapshot, additions: &mut Additions| -> Result<(), Refused> {
        let index = match route {
            None => usize::MAX,
            Some(name) => names(running)
                .position(|known| known == name)
                .ok_or_else(|| Refused::Missing(format!("no route is named `{}`", name.escape_debug())))?,
        };
        before = running.pipeline.rules().mode(index, layer);
        if before == LayerMode::Off {
            let why =
                format!("`{layer}` is off there by the configuration: it has nothing to be switched on");
            return Err(Refused::Conflict(why));
        }
        // What the configuration says anyway need not be said twice.
        let configured = rules(&running.config, running.models.models()).mode(index, layer);
        let is_needed =
            configured != mode || (route.is_some() && additions.switches.get(layer, None).is_some());
        additions.switches = additions.switches.with(layer, route, is_needed.then_some(mode));
        if additions.switches.all().len() > SWITCHES_MAX {
            return Err(Refused::Conflict(format!("{SWITCHES_MAX} are switched already: undo one first")));
        }
        *wanted.borrow_mut() = additions.switches.clone();
        Ok(())
    };
    core.change_additions(*dry_run, change, || wanted.borrow().keep(core.state.folder()))?;
    let at = route.map_or_else(|| "everywhere".to_owned(), |route| format!("on `{route}`"));
    let suffix = route.map(|route| format!("@{route}")).unwrap_or_default();
    let verb = if *dry_run { "would be" } else { "is" };
    Ok(json!({
        "success": true,
        "message": format!(
            "`{layer}` {verb} in mode {} {at} from the next request on, also after a restart; it was in mode {}",
            mode.as_str(), before.as_str()
        ),
        "undo": format!("sunbeam {} {layer}{suffix}", before.as_str()),
    }))
}

/// Routes by their configured names, in their order.
fn names(running: &Snapshot) -> impl Iterator<Item = &str> {
    running
        .config
        .routes
        .iter()
        .map(|route| if route.host.is_empty() { route.host_prefix.as_str() } else { route.host.as_str() })
}
