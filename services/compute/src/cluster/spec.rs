//! What a cluster is to be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};

/// Whether nodes may be taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Display, EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum VmPriority {
    /// They stay.
    #[default]
    Dedicated,
    /// They may be preempted, and cost less.
    LowPriority,
}

/// How many nodes there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// At least.
    pub min_nodes: u32,
    /// At most.
    pub max_nodes: u32,
    /// How long a node may idle before it is released.
    pub idle_seconds_before_scaledown: f64,
}

/// The parts of a scale that are to change.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ScaleChange {
    /// At least.
    pub min_nodes: Option<u32>,
    /// At most.
    pub max_nodes: Option<u32>,
    /// How long a node may idle before it is released.
    pub idle_seconds_before_scaledown: Option<f64>,
}

impl ScaleChange {
    /// The scale after the change.
    pub fn of(self, scale: Scale) -> Scale {
        Scale {
            min_nodes: self.min_nodes.unwrap_or(scale.min_nodes),
            max_nodes: self.max_nodes.unwrap_or(scale.max_nodes),
            idle_seconds_before_scaledown: self
                .idle_seconds_before_scaledown
                .unwrap_or(scale.idle_seconds_before_scaledown),
        }
    }
}

/// When simulated preemptions come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preemption {
    /// Only when asked for.
    #[default]
    Never,
    /// After an exponentially distributed life of a low-priority node.
    #[serde(untagged)]
    Exponential {
        /// The mean life.
        mean_seconds: f64,
        /// The same seed gives the same lives.
        seed: u64,
    },
}

/// Settings of the provider of virtual nodes on this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalSettings {
    /// From the request to the start of the agent.
    pub boot_seconds: f64,
    /// From the notice of a preemption to its end.
    pub notice_seconds: f64,
    /// When preemptions come.
    pub preemption: Preemption,
    /// Multiplies the boot delay and the simulated lives, for demonstrations.
    pub time_scale: f64,
}

impl Default for LocalSettings {
    fn default() -> Self {
        Self { boot_seconds: 3.0, notice_seconds: 10.0, preemption: Preemption::Never, time_scale: 1.0 }
    }
}

/// Who gives the nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Provider {
    /// Virtual nodes on this machine.
    Local(LocalSettings),
}

impl Default for Provider {
    fn default() -> Self {
        Self::Local(LocalSettings::default())
    }
}

/// A cluster's definition. Only its scale can change later.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterSpec {
    /// Name of the nodes' size.
    pub vm_size: String,
    /// Whether nodes may be taken away.
    pub vm_priority: VmPriority,
    /// How many nodes there may be.
    pub scale: Scale,
    /// `linux`.
    pub os_type: String,
    /// Who gives the nodes.
    pub provider: Provider,
    /// The owner's own words.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}
