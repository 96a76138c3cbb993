// SPDX-License-Identifier: Apache-2.0
//! What operators said of layers while the node ran: `sunbeam enforce`, `observe`, `auto`. Kept next to the state, so that
//! a restart does not forget it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sunbeam_pipeline::{LayerOverride, Switch};
use sunbeam_traffic::{Layer, LayerMode};

use super::models::put;
use crate::state::StateError;

/// Switches that are kept: all layers on all of so many routes.
pub(crate) const SWITCHES_MAX: usize = 1_024;

/// One for each layer and route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Switches(Vec<Switch>);

/// Why a node does not start: a layer would do what somebody forbade.
#[derive(Debug, thiserror::Error)]
#[error("what was said of layers (`{}`) cannot be used: {reason}; mend the file, or delete it to go on without", path.display())]
pub struct SwitchesError {
    path: PathBuf,
    reason: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    layer: String,
    route: Option<String>,
    mode: String,
}

impl Switches {
    /// What lies in the folder of the state.
    pub(crate) fn open(state_folder: &Path) -> Result<Self, SwitchesError> {
        let path = place(state_folder);
        let wrong = |reason: String| SwitchesError { path: path.clone(), reason };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(wrong(error.to_string())),
        };
        let written: Vec<Written> = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let mut switches = Vec::new();
        for one in written {
            let layer = layer_of(&one.layer).ok_or_else(|| wrong(format!("`{}` is no layer", one.layer)))?;
            let mode = mode_of(&one.mode).ok_or_else(|| wrong(format!("`{}` is no mode", one.mode)))?;
            switches.push(Switch { layer, route: one.route, mode });
        }
        Ok(Self(switches))
    }

    pub(crate) fn all(&self) -> &[Switch] {
        &self.0
    }

    /// What was said of exactly this.
    pub(crate) fn get(&self, layer: Layer, route: Option<&str>) -> Option<LayerMode> {
        self.0.iter().find(|known| is_of(known, layer, route)).map(|known| known.mode)
    }

    /// With another word; `None`: with none, the configuration's counts.
    pub(crate) fn with(&self, layer: Layer, route: Option<&str>, mode: Option<LayerMode>) -> Self {
        let mut switches: Vec<Switch> =
            self.0.iter().filter(|known| !is_of(known, layer, route)).cloned().collect();
        switches.extend(mode.map(|mode| Switch { layer, route: route.map(str::to_owned), mode }));
        Self(switches)
    }

    /// Keeps them: whole, or not at all.
    pub(crate) fn keep(&self, state_folder: &Path) -> Result<(), StateError> {
        let written: Vec<Written> = self
            .0
            .iter()
            .map(|switch| Written {
                layer: switch.layer.as_str().to_owned(),
                route: switch.route.clone(),
                mode: switch.mode.as_str().to_owned(),
            })
            .collect();
        let bytes = serde_json::to_vec(&written).map_err(|error| StateError::Database(error.to_string()))?;
        put(&place(state_folder), &bytes)
    }
}

fn is_of(switch: &Switch, layer: Layer, route: Option<&str>) -> bool {
    switch.layer == layer && switch.route.as_deref() == route
}

fn place(state_folder: &Path) -> PathBuf {
    state_folder.join("layers.json")
}

/// A layer that can be switched: lists always hold.
pub(crate) fn layer_of(text: &str) -> Option<Layer> {
    Layer::ALL.into_iter().find(|layer| layer.as_str() == text && *layer != Layer::Lists)
}

/// Off is the configuration's word alone: a layer that is off has nothing to be switched on.
pub(crate) fn mode_of(text: &str) -> Option<LayerMode> {
    let known = [LayerOverride::Observe, LayerOverride::Auto, LayerOverride::Enforce];
    known.into_iter().map(LayerMode::from).find(|mode| mode.as_str() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_lives_on_and_what_makes_no_sense_stops_the_start() {
        let folder = std::env::temp_dir().join(format!("sunbeam-switches-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(Switches::open(&folder).unwrap(), Switches::default());
        let switches = Switches::default()
            .with(Layer::Waf, None, Some(LayerMode::Observe))
            .with(Layer::Waf, Some("shop.example"), Some(LayerMode::Enforce))
            .with(Layer::Waf, None, Some(LayerMode::Auto));
        switches.keep(&folder).unwrap();
        let again = Switches::open(&folder).unwrap();
        assert_eq!(again, switches);
        assert_eq!(again.get(Layer::Waf, None), Some(LayerMode::Auto));
        assert_eq!(again.with(Layer::Waf, None, None).get(Layer::Waf, None), None);
        for text in [
            "[{\"layer\":\"lists\",\"route\":null,\"mode\":\"auto\"}]",
            "[",
            "[{\"layer\":\"waf\",\"route\":null,\"mode\":\"off\"}]",
        ] {
            fs::write(place(&folder), text).unwrap();
            assert!(Switches::open(&folder).unwrap_err().to_string().contains("layers.json"), "{text}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
