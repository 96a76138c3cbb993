// SPDX-License-Identifier: Apache-2.0
//! Shadow or enforce: worked out for each route and layer when the configuration is loaded.

use sunbeam_traffic::{Layer, LayerMode};

use crate::config::{DdosSection, DetectionSection, ProtectSection, ScannerSection};
use crate::waf::WafSection;

/// What each layer may do on one route.
#[derive(Clone, Copy, Debug, Default)]
pub struct Modes {
    ddos: LayerMode,
    scanner: LayerMode,
    rate_limit: LayerMode,
    waf: LayerMode,
}

/// The sections that decide about it.
#[derive(Clone, Copy, Debug)]
pub struct Protection<'a> {
    /// For all layers.
    pub detection: &'a DetectionSection,
    /// The layer's own.
    pub ddos: &'a DdosSection,
    /// The layer's own.
    pub scanner: &'a ScannerSection,
    /// `rate_limit.enabled`
    pub is_rate_limited: bool,
    /// The layer's own.
    pub waf: &'a WafSection,
}

/// What an operator said of a layer while the node ran: it counts before the configuration's word, but a layer that is
/// off stays off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// Which.
    pub layer: Layer,
    /// By its configured name; `None`: on every route that has no switch of its own.
    pub route: Option<String>,
    /// What it does from now on.
    pub mode: LayerMode,
}

impl Modes {
    /// Switches a layer; lists always hold.
    pub(crate) fn switch(&mut self, layer: Layer, mode: LayerMode) {
        let of_layer = match layer {
            Layer::Lists => return,
            Layer::Ddos => &mut self.ddos,
            Layer::Scanner => &mut self.scanner,
            Layer::RateLimit => &mut self.rate_limit,
            Layer::Waf => &mut self.waf,
        };
        if *of_layer != LayerMode::Off {
            *of_layer = mode;
        }
    }

    /// The route's word counts before the node's; a layer that is off or watches only does so everywhere.
    pub fn new(protection: &Protection<'_>, protect: &ProtectSection) -> Self {
        let everywhere: LayerMode = protection.detection.mode.into();
        let mode = |is_enabled, observe_only, own: Option<crate::config::LayerOverride>| {
            let wanted = own.map_or(everywhere, LayerMode::from);
            match (is_enabled, observe_only) {
                (false, _) => LayerMode::Off,
                (true, true) => wanted.min(LayerMode::Observe),
                (true, false) => wanted,
            }
        };
        Self {
            ddos: mode(protection.ddos.enabled, protection.ddos.observe_only, protect.ddos),
            scanner: mode(protection.scanner.enabled, protection.scanner.observe_only, protect.scanner),
            rate_limit: mode(protection.is_rate_limited, false, protect.rate_limit),
            waf: mode(protection.waf.enabled, false, protect.waf.or(protection.waf.mode)),
        }
    }

    /// The mode of a layer. Lists are the operator's own word: they always hold.
    pub const fn of(&self, layer: Layer) -> LayerMode {
        match layer {
            Layer::Lists => LayerMode::Enforce,
            Layer::Ddos => self.ddos,
            Layer::Scanner => self.scanner,
            Layer::RateLimit => self.rate_limit,
            Layer::Waf => self.waf,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DetectionMode, LayerOverride};

    #[test]
    fn the_nearest_word_counts_and_shadow_stays_shadow() {
        let (auto, observe) = (DetectionMode::Auto, DetectionMode::Observe);
        type Case = (&'static str, DetectionMode, bool, bool, Option<LayerOverride>, LayerMode);
        let cases: [Case; 8] = [
            ("default", auto, true, false, None, LayerMode::Auto),
            ("node observes", observe, true, false, None, LayerMode::Observe),
            ("route enforces", observe, true, false, Some(LayerOverride::Enforce), LayerMode::Enforce),
            ("route is off", auto, true, false, Some(LayerOverride::Off), LayerMode::Off),
            ("layer observes", auto, true, true, None, LayerMode::Observe),
            (
                "layer observes, route enforces",
                auto,
                true,
                true,
                Some(LayerOverride::Enforce),
                LayerMode::Observe,
            ),
            ("layer observes, route off", auto, true, true, Some(LayerOverride::Off), LayerMode::Off),
            ("layer is off", auto, false, false, Some(LayerOverride::Enforce), LayerMode::Off),
        ];
        for (name, mode, enabled, observe_only, own, want) in cases {
            let ddos = DdosSection { enabled, observe_only, ..DdosSection::default() };
            let protection = Protection {
                detection: &DetectionSection { mode, ..DetectionSection::default() },
                ddos: &ddos,
                scanner: &ScannerSection::default(),
                is_rate_limited: true,
                waf: &WafSection::default(),
            };
            let modes = Modes::new(&protection, &ProtectSection { ddos: own, ..ProtectSection::default() });
            assert_eq!(modes.of(Layer::Ddos), want, "{name}");
            assert_eq!(modes.of(Layer::Lists), LayerMode::Enforce, "{name}");
        }
    }

    #[test]
    fn the_waf_has_a_mode_of_its_own_between_the_route_s_and_the_node_s() {
        let (observe, enforce, off) = (LayerOverride::Observe, LayerOverride::Enforce, LayerOverride::Off);
        for (name, enabled, mode, own, want) in [
            ("default", true, None, None, LayerMode::Auto),
            ("its own", true, Some(observe), None, LayerMode::Observe),
            ("the route's", true, Some(observe), Some(enforce), LayerMode::Enforce),
            ("off everywhere but here", true, Some(off), Some(enforce), LayerMode::Enforce),
            ("off here", true, Some(enforce), Some(off), LayerMode::Off),
            ("off", false, Some(enforce), Some(enforce), LayerMode::Off),
        ] {
            let protection = Protection {
                detection: &DetectionSection::default(),
                ddos: &DdosSection::default(),
                scanner: &ScannerSection::default(),
                is_rate_limited: true,
                waf: &WafSection { enabled, mode, ..WafSection::default() },
            };
            let modes = Modes::new(&protection, &ProtectSection { waf: own, ..ProtectSection::default() });
            assert_eq!(modes.of(Layer::Waf), want, "{name}");
        }
    }
}
