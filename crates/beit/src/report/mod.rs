//! A page that shows a run, or several beside one another: one file of HTML with everything in it.

mod features;
mod history;
mod in_run;
mod names;
mod page;
mod picture;

pub(crate) use in_run::{Page, draw};

use crate::error::{Result, setting, unfit};
use crate::files;
use crate::picture::chart::COLOURS;
use crate::run::{REPORT, SETTINGS};
use history::History;
use std::path::{Path, PathBuf};

/// As many runs as there are colours that everybody can tell apart.
pub const MOST_RUNS: usize = COLOURS.len();

/// Where the page of these runs is written if no place is named: into a run, or of several to the present folder. A run writes it by
/// itself, so that it may be replaced there.
#[must_use]
pub fn usual_place(runs: &[PathBuf]) -> (PathBuf, bool) {
    match runs {
        [run] => (run.join(REPORT), true),
        _ => (REPORT.into(), false),
    }
}

/// Refuses what cannot be shown.
///
/// # Errors
///
/// No run, or more than [`MOST_RUNS`]; a folder that is no run.
pub fn check(runs: &[PathBuf]) -> Result<()> {
    if runs.is_empty() || runs.len() > MOST_RUNS {
        setting!(
            "{} runs: expected 1 to {MOST_RUNS}, as many as there are colours that can be told apart",
            runs.len()
        );
    }
    if let Some(other) = runs.iter().find(|run| !run.join(SETTINGS).is_file()) {
        unfit!("{}: no run; expected the folder of a run, with {SETTINGS} in it", other.display());
    }
    Ok(())
}

/// Writes a page that shows these runs, by their folders: what was measured, results, use of the codebook, pictures, settings, and the
/// machine. What is damaged in them is said in it.
///
/// # Errors
///
/// As [`check`], and a page that cannot be written.
pub fn write(runs: &[PathBuf], out: &Path) -> Result<()> {
    check(runs)?;
    let histories: Vec<History> = runs.iter().map(|run| History::read(run, name(run))).collect();
    files::write(out, page::page(&histories).as_bytes())
}

/// What a run is called: its folder, as it was named.
fn name(run: &Path) -> String {
    match run.file_name() {
        Some(_) => run.display().to_string(),
        // As `.`, which has a name in the folder that it is in.
        None => std::fs::canonicalize(run).unwrap_or_else(|_| run.to_owned()).display().to_string(),
    }
}

#[cfg(all(test, unix))] // Names of folders as on Unix.
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;

    const HOSTILE: &str = "<b>&\"";

    /// A run whose every text is hostile, with a line that is cut off in its middle.
    fn hostile_run(dir: &Path) -> PathBuf {
        let run = dir.join(HOSTILE);
        fs::create_dir_all(run.join("pictures")).expect("a folder");
        let settings = format!("# {HOSTILE}\n'{HOSTILE}' = '{HOSTILE}'\n[device]\ndevice = '{HOSTILE}'\n");
        fs::write(run.join("run.toml"), settings).expect("a file");
        let lines = [
            json!({ "phase": HOSTILE, "step": 2, HOSTILE: 0.5, "loss": 2.5 }).to_string(),
            "{\"phase\":".to_owned(),
            json!({ "phase": HOSTILE, "step": 4, HOSTILE: 1e308, "loss": 1.5 }).to_string(),
            json!({ "phase": "features", "step": 0, "best_layer": 0.5, "blocks": { "block_1": 0.5, HOSTILE: 0.25 } }).to_string(),
            json!({ "phase": "evaluate", "accuracy": { HOSTILE: 0.25 } }).to_string(),
            json!({ "phase": "tokenizer_quality", "quality": { "counts": [3, 0, 5] } }).to_string(),
        ];
        fs::write(run.join("metrics.jsonl"), lines.join("\n")).expect("a file");
        fs::write(run.join("pictures").join(format!("{HOSTILE}.png")), "no picture").expect("a file");
        let picture = image::RgbImage::new(3, 2);
        picture.save(run.join("pictures/reconstruction.png")).expect("a picture");
        picture.save(run.join("pictures/step-0000020.png")).expect("a picture");
        run
    }

    #[test]
    fn whatever_comes_from_a_file_is_escaped() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let run = hostile_run(dir.path());
        let out = dir.path().join("page.html");
        for runs in [vec![run.clone()], vec![run.clone(), run.clone()]] {
            write(&runs, &out).expect("a run");
            let page = fs::read_to_string(&out).expect("it was written");
            assert!(!page.contains("<b>") && !page.contains("&\""), "{page}");
            assert!(page.matches("&lt;b&gt;&amp;&quot;").count() >= 8, "{page}");
            assert!(
                page.contains("metrics.jsonl: 1 of 6 lines are not whole") && page.contains("line 2"),
                "{page}"
            );
            assert!(page.contains(".png is not shown") && page.contains("data:image/png;base64,"), "{page}");
            assert!(page.contains("Use of the codebook") && page.matches("<svg ").count() == 5, "{page}");
            // On its own a run has what is judged on one chart; of several each measure has one.
            let alone = page.contains(">Accuracy over blocks") && page.contains("best block");
            assert!(alone == (runs.len() == 1) && page.contains("judged on the way"), "{page}");
            assert!(page.contains("While it learnt") && page.contains("after 20 steps"), "{page}");
            assert!(
                !page.contains("<script") && !page.replace("http://www.w3.org/2000/svg", "").contains("http")
            );
        }
    }

    #[test]
    fn of_several_runs_the_settings_that_differ_are_shown() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let runs: Vec<PathBuf> = ["a", "b"].iter().map(|name| dir.path().join(name)).collect();
        for (run, rate) in runs.iter().zip(["0.25", "0.125"]) {
            fs::create_dir(run).expect("a folder");
            let settings = format!("seed = 77\n[training]\nlr = {rate}\n");
            fs::write(run.join("run.toml"), settings).expect("a file");
        }
        let out = dir.path().join("page.html");
        write(&runs, &out).expect("two runs");
        let page = fs::read_to_string(&out).expect("it was written");
        let (_, settings) = page.split_once("Settings that differ").expect("a heading");
        let (different, same) = settings.split_once("Settings that are the same").expect("a heading");
        assert!(
            different.contains("<th scope=\"row\">training.lr</th><td>0.25</td><td>0.125</td>"),
            "{different}"
        );
        assert!(!different.contains("seed") && same.contains("77"), "{settings}");
        assert!(page.contains("nothing is measured yet"), "{page}");
    }

    #[test]
    fn what_is_no_run_is_said() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let error =
            |runs: &[PathBuf]| write(runs, &dir.path().join("page.html")).expect_err("refused").to_string();
        let one = error(&[dir.path().to_owned()]);
        assert!(one.contains("no run; expected the folder of a run, with run.toml in it"), "{one}");
        assert!(error(&vec![dir.path().to_owned(); MOST_RUNS + 1]).starts_with("8 runs: expected 1 to 7"));
        fs::write(dir.path().join("run.toml"), "seed = ").expect("a file");
        write(&[dir.path().to_owned()], &dir.path().join("page.html")).expect("a run with damaged settings");
        let page = fs::read_to_string(dir.path().join("page.html")).expect("it was written");
        assert!(page.contains("run.toml is damaged"), "{page}");
    }
}
