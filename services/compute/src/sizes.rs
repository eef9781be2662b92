//! The catalogue of node sizes: what a node has, and what an hour of it costs.

use serde::{Deserialize, Serialize};

/// Bytes of a GiB.
pub const GIB: u64 = 1 << 30;

/// What a node of a size has. Written into the cluster's first event, so that a changed catalogue changes no cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// Its name, e.g. `D2`.
    pub name: String,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory.
    pub memory_bytes: u64,
    /// GPUs.
    pub gpus: u32,
    /// The family that quotas are counted by.
    pub family: String,
    /// Price of an hour as a dedicated node.
    pub price_per_hour_dedicated: f64,
    /// Price of an hour as a low-priority node.
    pub price_per_hour_low_priority: f64,
}

/// Name, vcpus, GiB of memory, gpus, family, price of an hour dedicated and low priority.
const CATALOGUE: [(&str, u32, u64, u32, &str, f64, f64); 4] = [
    ("D2", 2, 8, 0, "D", 0.10, 0.02),
    ("D8", 8, 32, 0, "D", 0.38, 0.08),
    ("NC6", 6, 56, 1, "NC", 0.90, 0.18),
    ("NC24", 24, 224, 4, "NC", 3.60, 0.72),
];
/// Families whose accelerators are FPGAs, with the letters that their names begin with.
const FPGA_PREFIXES: [&str; 4] = ["PB", "NP", "Standard_PB", "Standard_NP"];

/// Every size, the smallest first.
pub fn all() -> impl Iterator<Item = Size> {
    CATALOGUE.into_iter().map(|(name, vcpus, gib, gpus, family, dedicated, low_priority)| Size {
        name: name.to_owned(),
        vcpus,
        memory_bytes: gib * GIB,
        gpus,
        family: family.to_owned(),
        price_per_hour_dedicated: dedicated,
        price_per_hour_low_priority: low_priority,
    })
}

/// The names of all sizes.
pub fn names() -> impl Iterator<Item = &'static str> {
    CATALOGUE.iter().map(|size| size.0)
}

/// A size by its name.
pub fn by_name(name: &str) -> Option<Size> {
    all().find(|size| size.name == name)
}

/// Whether the name is one of an FPGA size, which is known but not offered.
pub fn is_fpga(name: &str) -> bool {
    name.to_ascii_uppercase().contains("FPGA") || FPGA_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
