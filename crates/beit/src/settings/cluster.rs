use serde::{Deserialize, Serialize};

/// Machines on which a run is imagined.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[cfg_attr(feature = "clap", command(next_help_heading = "Prediction, with --dry-run and --ranks"))]
#[serde(default)]
pub struct ClusterSettings {
    /// Machines that the processes are spread over evenly
    #[cfg_attr(feature = "clap", arg(long, value_name = "M", requires = "dry_run", default_value_t = Self::default().nodes))]
    pub nodes: usize,
    /// Gigabits a second that a machine can send to others, while it receives as many
    #[cfg_attr(feature = "clap", arg(long, value_name = "GBPS", requires = "dry_run", default_value_t = Self::default().link))]
    pub link: f64,
    /// Gigabits a second between two processes of a machine, with what adding up costs; the usual number was measured (docs/scale.md)
    #[cfg_attr(feature = "clap", arg(long, value_name = "GBPS", requires = "dry_run", default_value_t = Self::default().local_link))]
    pub local_link: f64,
    /// Images a second that one process trains on; measured here where not given
    #[cfg_attr(feature = "clap", arg(long, value_name = "IMAGES", requires = "dry_run"))]
    pub rate: Option<f64>,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self { nodes: 1, link: 10.0, local_link: 3.2, rate: None }
    }
}
