//! `--recipe` and `--set`, and the verb that lists recipes.

use crate::output::Output;
use crate::ranks::Member;
use crate::usage::Given;
use beit::recipe::{Asked, Change, Layered, merge};
use beit::{DeviceSettings, Recipe, RunSettings};
use clap::Args as ClapArgs;
use serde_json::{Value, json};

/// Settings that do not come from flags.
#[derive(ClapArgs, Clone, Debug)]
#[command(next_help_heading = "Recipes")]
pub(crate) struct Recipes {
    /// Take the settings of a published recipe (`cargo xtask recipes`) or of a file: a changed copy of one, or run.toml of a run, which
    /// repeats that run. Flags win over it
    #[arg(long, value_name = "NAME|FILE")]
    recipe: Option<String>,
    /// Set one setting by its name in run.toml, over the recipe; may be given several times
    #[arg(long = "set", value_name = "NAME=VALUE")]
    changes: Vec<Change>,
}

impl Recipes {
    /// The settings that hold: what is usual, under the recipe, under single settings, under flags; of a run that goes on those of the run,
    /// under these. What is not as usual is said where a recipe or single settings are given.
    pub(crate) fn settle<S: Layered>(
        &self,
        (flags, device): (S, DeviceSettings),
        run_of: impl Fn(&mut S) -> &mut RunSettings,
        given: &Given,
        member: &Member,
    ) -> anyhow::Result<(S, DeviceSettings)> {
        let recipe = self.recipe.as_deref().map(Recipe::find).transpose()?;
        let is_flag = |name: &str| given.has(name);
        let asked = Asked { recipe: recipe.as_ref(), changes: &self.changes, is_flag: &is_flag };
        let mut merged = merge(flags, &device, asked)?;
        run_of(&mut merged.settings).decide(&member.team)?;
        if recipe.is_some() || !self.changes.is_empty() {
            member.watch.note(&merged.describe()?);
        }
        let out = run_of(&mut merged.settings).resumed().map(ToOwned::to_owned);
        let (mut settings, device) = match out {
            Some(out) => {
                let is_asked = |path: &str| merged.is_asked(path) || given.has_path(path);
                beit::settings_of_run(&merged.settings, &merged.device, &out, is_asked)?
            }
            None => (merged.settings, merged.device),
        };
        run_of(&mut settings).folder.command = Some(crate::usage::command());
        Ok((settings, device))
    }
}

/// The published recipes: their numbers, what came out, and what differs. Copy one, change it, and give it to --recipe
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask recipes
  cargo xtask recipes in1k-800-base > my.toml
  cargo xtask pretrain --recipe my.toml --set training.epochs=300 --data folder:photos --dry-run")]
pub(crate) struct Args {
    /// Print the file of this one
    name: Option<String>,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.name {
        Some(name) => {
            let recipe = Recipe::find(name)?;
            args.output.answer(&described(&recipe)?, recipe.text.trim_end())
        }
        None if args.output.json => {
            Recipe::published().iter().try_for_each(|recipe| args.output.answer(&described(recipe)?, ""))
        }
        None => args.output.answer(&(), &table()?),
    }
}

/// What a program is told of a recipe.
fn described(recipe: &Recipe) -> anyhow::Result<Value> {
    let work = recipe.about.as_ref().map(|_| recipe.work()).transpose()?;
    Ok(json!({ "name": recipe.name, "about": recipe.about, "work": work, "toml": recipe.text }))
}

fn table() -> anyhow::Result<String> {
    let mut text =
        format!("{:24} {:9} {:>7} {:>8} {:>6}  expected", "name", "verb", "M param", "steps", "batch");
    for recipe in Recipe::published() {
        let (Some(about), work) = (&recipe.about, recipe.work()?) else { continue };
        text += &format!(
            "\n{:24} {:9} {:7.0} {:8} {:6}  {}",
            about.name,
            about.verb,
            work.parameters as f64 / 1e6,
            work.steps,
            work.images_per_step,
            about.expected.first().map_or_else(
                || "not published".to_owned(),
                |expected| format!("{} ({})", expected.result, expected.source)
            ),
        );
    }
    Ok(text + "\n\ncargo xtask recipes NAME prints a file to copy; docs/recipes.md has more")
}

#[cfg(test)]
mod tests {
    use beit::recipe::Layered;
    use beit::{FinetuneSettings, PretrainSettings};
    use clap::{Args, Command};

    /// Who mistakes a name is told of every flag that there is.
    fn all_flags_are_known<S: Layered + Args>() {
        let text = toml::to_string(&S::every()).unwrap();
        let known = |id: &str| text.lines().any(|line| line.starts_with(&format!("{id} = ")));
        let command = S::augment_args(Command::new("verb"));
        let unknown: Vec<_> =
            command.get_arguments().map(|arg| arg.get_id().as_str()).filter(|id| !known(id)).collect();
        assert!(unknown.is_empty(), "{} does not know {unknown:?}", S::VERB);
    }

    #[test]
    fn every_flag_is_a_setting_of_a_file() {
        all_flags_are_known::<PretrainSettings>();
        all_flags_are_known::<FinetuneSettings>();
    }
}
