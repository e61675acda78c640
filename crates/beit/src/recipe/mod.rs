//! Recipes: settings as files, the published ones among them, and what of them holds beside flags.

mod about;
mod book;
mod changes;
mod every;
mod layers;
mod names;
mod work;

pub use about::{About, Batch, Expected, TrainedOn};
pub use changes::Change;
pub use layers::{Asked, Layered, Merged, Origin, merge};
pub use work::Work as RecipeWork;

pub(crate) use layers::{leaves, put_over, table};

use crate::error::{Error, Place, Result, unfit};
use std::fs;
use std::io::Read;
use std::path::Path;
use toml::{Table, Value};

/// More than any settings take.
const MOST_BYTES: u64 = 1 << 20;
/// Parts of a run's `run.toml` that belong to that run alone: its folder and its machine.
const OF_ONE_RUN: [[&str; 2]; 5] =
    [["run", "out"], ["run", "overwrite"], ["run", "resume"], ["device", "kernel"], ["device", "machine"]];
/// What is beside the settings in `run.toml`.
const FOUND: &str = "found";
/// What is beside the settings in a recipe.
const ABOUT: &str = "recipe";

/// Some settings of a verb, by their names in `run.toml`, and what is to be known of them.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// What it is called: the name of a published one, or the path of a file.
    pub name: String,
    /// What it says of itself; a `run.toml` says nothing.
    pub about: Option<About>,
    pub(crate) settings: Table,
    /// The file as it is, to be copied and changed.
    pub text: String,
}

impl Recipe {
    /// The published recipes.
    #[must_use]
    pub fn published() -> Vec<Self> {
        let read = |text: &&str| Self::parse("a published recipe", text).ok();
        book::TEXTS.iter().filter_map(read).map(Self::by_its_own_name).collect()
    }

    /// A published recipe by its name, or a file: a copy of one that was changed, or the `run.toml` of a run, which repeats that run in
    /// another folder.
    ///
    /// # Errors
    ///
    /// Neither, or a file that is no recipe.
    pub fn find(name: &str) -> Result<Self> {
        let path = Path::new(name);
        if path.is_file() {
            return Self::parse(name, &read(path)?);
        }
        let all = Self::published();
        if let Some(recipe) = all.iter().find(|recipe| recipe.name == name) {
            return Ok(recipe.clone());
        }
        let names: Vec<&str> = all.iter().map(|recipe| recipe.name.as_str()).collect();
        let near = names::nearest(name, names.iter().copied()).unwrap_or_default();
        unfit!(
            "--recipe {name}: no such file and no published recipe; the nearest is {near} (`cargo xtask recipes` lists them)"
        )
    }

    /// Reads a recipe; `name` is what messages call it.
    ///
    /// # Errors
    ///
    /// What is no TOML, or describes itself in another way than recipes do. Whether there are such settings, [`merge`] finds out.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let damaged = |error: toml::de::Error| Error::Unfit(error.to_string().trim_end().to_owned());
        let mut settings: Table = toml::from_str(text).map_err(damaged).at(|| format!("{name}: no TOML"))?;
        let about = match settings.remove(ABOUT) {
            Some(about) => Some(about.try_into().map_err(damaged).at(|| format!("{name}: [{ABOUT}]"))?),
            None => None,
        };
        if settings.remove(FOUND).is_some() {
            for [part, name] in OF_ONE_RUN {
                settings.get_mut(part).and_then(Value::as_table_mut).and_then(|part| part.remove(name));
            }
        }
        Ok(Self { name: name.to_owned(), about, settings, text: text.to_owned() })
    }

    fn by_its_own_name(self) -> Self {
        let name = self.about.as_ref().map_or(self.name, |about| about.name.clone());
        Self { name, ..self }
    }

    /// Refuses the recipe of another verb.
    pub(crate) fn check_verb(&self, verb: &str) -> Result<()> {
        match &self.about {
            Some(about) if about.verb != verb => {
                unfit!("--recipe {}: it is one of {}, expected one of {verb}", self.name, about.verb)
            }
            _ => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<String> {
    let file = fs::File::open(path).map_err(Error::file("read", path))?;
    let mut text = String::new();
    file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(Error::file("read", path))?;
    if text.len() as u64 > MOST_BYTES {
        unfit!("{}: longer than {MOST_BYTES} bytes; expected settings as TOML", path.display());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_published_recipe_is_read_under_its_own_name() {
        let all = Recipe::published();
        assert_eq!(all.len(), book::TEXTS.len());
        for recipe in &all {
            let found = Recipe::find(&recipe.name).expect("it is published");
            assert_eq!(found.settings, recipe.settings, "two of the name {}", recipe.name);
        }
    }

    #[test]
    fn what_belongs_to_one_run_is_left_out() {
        let text = "layer_decay = 0.5\n[run]\nout = \"a\"\nkeep = 3\nresume = true\n[found]\ndata = \"1\"";
        let recipe = Recipe::parse("run.toml", text).expect("settings");
        let expected: Table = toml::from_str("layer_decay = 0.5\n[run]\nkeep = 3").expect("TOML");
        assert_eq!(recipe.settings, expected);
        // A folder that somebody wrote into a recipe is meant.
        let own = Recipe::parse("own.toml", "[run]\nout = \"a\"").expect("settings");
        assert_eq!(own.settings["run"]["out"].as_str(), Some("a"));
    }

    #[test]
    fn files_that_are_no_recipe() {
        for (text, says) in [
            ("lr = ", "x.toml: no TOML"),
            ("[recipe]\nname = 1", "x.toml: [recipe]"),
            ("[recipe]\nnome = \"a\"", "x.toml: [recipe]"),
        ] {
            let error = Recipe::parse("x.toml", text).expect_err(says);
            let said = crate::error::chain(&error);
            assert!(said.starts_with(says), "{said}");
        }
        let error = Recipe::find("in1k-800-bass").expect_err("no fish").to_string();
        assert!(error.contains("the nearest is in1k-800-base ("), "{error}");
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("long.toml");
        fs::write(&path, "#".repeat(MOST_BYTES as usize + 1)).expect("written");
        let error = Recipe::find(&path.to_string_lossy()).expect_err("too long").to_string();
        assert!(error.contains("longer than 1048576 bytes"), "{error}");
    }
}
