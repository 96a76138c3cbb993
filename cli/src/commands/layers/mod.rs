// SPDX-License-Identifier: Apache-2.0
//! `sunbeam enforce`, `observe` and `auto`: what a layer of the running node does, and the case for it.

mod plan;

use std::str::FromStr;

use serde_json::json;

use super::Run;
use super::block::print_change;
use super::confirm::Confirming;
use crate::cli::GlobalArgs;
use crate::client::Client;
use crate::exit::{CliError, ExitCode};

/// Let a layer of the running node act on what it doubts as well, or show the case for that
///
/// What a layer is certain about is blocked from the first minute in mode `auto`, too. Mode `enforce` needs no proof and
/// loses none: prefer `auto`, which begins to act by itself once people have proven the layer.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Enforce {
    /// ddos, scanner, rate_limit or waf; everywhere, or on the route of that name
    #[arg(value_name = "LAYER[@ROUTE]", required_unless_present = "plan")]
    layer: Option<Place>,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirming: Confirming,
    /// Show for each layer what it doubted, what share of people that hurt, and the requests that look human
    #[arg(long, conflicts_with_all = ["layer", "dry_run"])]
    plan: bool,
}

/// Let a layer of the running node only watch
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Observe {
    #[command(flatten)]
    switch: Switch,
}

/// Let a layer of the running node block what is certain, and what it doubts once it has proven itself
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Auto {
    #[command(flatten)]
    switch: Switch,
}

#[derive(Clone, Debug, clap::Args)]
struct Switch {
    /// ddos, scanner, rate_limit or waf; everywhere, or on the route of that name
    #[arg(value_name = "LAYER[@ROUTE]")]
    layer: Place,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirming: Confirming,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    layer: String,
    route: Option<String>,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (layer, route) = match text.split_once('@') {
            Some((_, "")) => return Err("a route's name is missing behind `@`".to_owned()),
            Some((layer, route)) => (layer, Some(route.to_owned())),
            None => (text, None),
        };
        if !["ddos", "scanner", "rate_limit", "waf"].contains(&layer) {
            return Err("the layers are ddos, scanner, rate_limit and waf".to_owned());
        }
        Ok(Self { layer: layer.to_owned(), route })
    }
}

impl Run for Enforce {
    const NAME: &'static str = "enforce";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        match self.layer {
            Some(layer) if !self.plan => {
                Switch { layer, dry_run: self.dry_run, confirming: self.confirming }.send(global, Self::NAME)
            }
            // Nothing but the plan goes without a layer.
            _ => plan::show(global),
        }
    }
}

impl Run for Observe {
    const NAME: &'static str = "observe";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        self.switch.send(global, Self::NAME)
    }
}

impl Run for Auto {
    const NAME: &'static str = "auto";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        self.switch.send(global, Self::NAME)
    }
}

impl Switch {
    fn send(&self, global: &GlobalArgs, mode: &str) -> Result<ExitCode, CliError> {
        let place = &self.layer;
        let mut body = json!({"layer": place.layer, "mode": mode, "dry_run": self.dry_run});
        if let Some(route) = &place.route {
            body["route"] = route.as_str().into();
        }
        self.confirming.put_into(&mut body);
        let (client, printer) = (Client::connect(global)?, global.printer());
        let answer = client.post_json("/api/v1/layers", &body)?;
        let code = print_change(printer, &answer, self.dry_run)?;
        self.confirming.ask(&client, printer, &answer)?;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_layers_and_routes() {
        let place = |layer: &str, route: Option<&str>| Place {
            layer: layer.to_owned(),
            route: route.map(str::to_owned),
        };
        assert_eq!("waf".parse(), Ok(place("waf", None)));
        assert_eq!("waf@shop.example".parse(), Ok(place("waf", Some("shop.example"))));
        assert_eq!("scanner@*".parse(), Ok(place("scanner", Some("*"))));
        for text in ["", "lists", "waf@", "@shop", "WAF"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
