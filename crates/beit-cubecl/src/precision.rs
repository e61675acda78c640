//! The precision of matrix products, and why a device may be refused.

use cubecl::client::ComputeClient;
use cubecl::features::MmaConfig;
use cubecl::ir::{ElemType, FloatKind};
use cubecl::prelude::*;
use std::fmt;

/// The type that matrix products read. Sums, statistics, losses and parameters are f32 in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Single precision throughout.
    F32,
    /// bf16 on tensor cores with sums in f32, and bf16 activations.
    Bf16,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

/// Why a device was not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no driver, or no device of that number.
    Missing {
        /// `cuda:0`, `wgpu`
        device: String,
        /// What was found instead, and what to do.
        reason: String,
    },
    /// The device lacks what the precision needs.
    Unsupported {
        /// The device's name.
        device: String,
        /// What it lacks, and what to do.
        reason: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { device, reason } => write!(f, "no device {device}: {reason}"),
            Self::Unsupported { device, reason } => write!(f, "device {device}: {reason}"),
        }
    }
}

impl std::error::Error for OpenError {}

/// Side of the fragments that tensor cores multiply here.
const FRAGMENT: u32 = 16;

impl Precision {
    /// Whether the device has the types and the units that this precision needs.
    pub(crate) fn check<R: Runtime>(self, client: &ComputeClient<R>, name: &str) -> Result<(), OpenError> {
        let bf16 = ElemType::Float(FloatKind::BF16).into();
        let f32 = ElemType::Float(FloatKind::F32).into();
        let [m, n, k] = [FRAGMENT; 3];
        let fragment = MmaConfig { a_type: bf16, b_type: bf16, cd_type: f32, m, n, k };
        if self == Self::F32 || client.properties().features.matmul.cmma.contains(&fragment) {
            return Ok(());
        }
        let reason = "no tensor cores for bf16 here; --precision f32 runs".to_owned();
        Err(OpenError::Unsupported { device: name.to_owned(), reason })
    }
}
