//! The model that a verb uses as it is.

use beit::OpenSettings;
use clap::Args;

/// Which model, and how it is opened.
#[derive(Args, Clone, Debug)]
pub(crate) struct ModelArgs {
    /// Run, checkpoint folder, file (.safetensors, .pth, .bin, .pkl), official name or name on the hub (org/name, org/name@revision)
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) open: OpenSettings,
}
