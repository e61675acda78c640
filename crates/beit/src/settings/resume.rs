//! Whether a run begins or goes on.

use serde::{Deserialize, Serialize};

/// Whether a run begins or goes on. In files it is false, true or "auto".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "Written", into = "Written")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Resume {
    /// A new run.
    #[default]
    Never,
    /// The run in the folder; there must be one.
    Always,
    /// The run in the folder where there is one, else a new one there: what a scheduler begins again and again.
    Auto,
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Written {
    /// As versions wrote it that had nothing else.
    Given(bool),
    Named(Auto),
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Auto {
    Auto,
}

impl From<Written> for Resume {
    fn from(written: Written) -> Self {
        match written {
            Written::Given(false) => Self::Never,
            Written::Given(true) => Self::Always,
            Written::Named(Auto::Auto) => Self::Auto,
        }
    }
}

impl From<Resume> for Written {
    fn from(resume: Resume) -> Self {
        match resume {
            Resume::Never => Self::Given(false),
            Resume::Always => Self::Given(true),
            Resume::Auto => Self::Named(Auto::Auto),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_all_versions_are_read() {
        for (resume, text) in [(Resume::Never, "false"), (Resume::Always, "true"), (Resume::Auto, "\"auto\"")]
        {
            assert_eq!(serde_json::to_string(&resume).expect("it is JSON"), text);
            assert_eq!(serde_json::from_str::<Resume>(text).expect("it was written so"), resume);
        }
    }
}
