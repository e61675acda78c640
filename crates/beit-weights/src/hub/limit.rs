//! How large a file of each kind may be.

use super::failure::Failure;
use super::problem::HubProblem;

/// Configurations, indices and texts: the largest that is published, with 21,841 names of classes, has two megabytes.
const SMALL: u64 = 16 << 20;
/// Weights: more than this project can load, but an end.
const LARGE: u64 = 64 << 30;

/// Refuses a file with more bytes than one of its name can have.
pub(super) fn within(file: &str, bytes: u64) -> Result<(), Failure> {
    let most = most(file);
    if bytes <= most {
        return Ok(());
    }
    Err(HubProblem::TooLarge { file: file.to_owned(), found: bytes, most }.into())
}

fn most(file: &str) -> u64 {
    let small = [".json", ".txt", ".md", ".yaml", ".yml", ".csv", ".py"];
    if small.iter().any(|ending| file.to_ascii_lowercase().ends_with(ending)) { SMALL } else { LARGE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        for (file, bytes, fits) in [
            ("config.json", SMALL, true),
            ("config.json", SMALL + 1, false),
            ("sub/model.safetensors.index.JSON", SMALL + 1, false),
            ("labels.txt", u64::MAX, false),
            ("model.safetensors", 20 << 30, true),
            ("encoder.pkl", LARGE + 1, false),
        ] {
            assert_eq!(within(file, bytes).is_ok(), fits, "{file} {bytes}");
        }
    }
}
