//! What pre-training starts from: random values, or what another model has learnt.

use super::{PretrainSettings, Pretraining};
use crate::error::{Result, setting};
use crate::load;
use crate::progress::Watch;
use crate::run::{newest, run_of, tokenizer_of};
use crate::settings::TargetKind;
use crate::train::init::{Init, no_transformer, same_patches};
use beit_data::Preprocessing;
use beit_heads::{Mim, PixelMim};
use beit_ops::Ops;
use beit_tokenizer::Config as TokenizerConfig;
use beit_vit::Config;
use beit_weights::{Checkpoint, Loaded, Model};
use std::path::{Path, PathBuf};

/// A model that pre-training goes on with.
pub(super) struct Start {
    init: Init,
    /// Whether its head was trained for the tokens that are to be named.
    same_tokens: bool,
    /// What there is to say of its head.
    head: String,
}

impl PretrainSettings {
    /// The checkpoint of this very run to go on from.
    pub(super) fn newest(&self) -> Option<PathBuf> {
        self.run.resumed().and_then(newest)
    }

    /// The transformer, and the model it is taken from where `--init` names one. A run that goes on needs that model no more.
    pub(super) fn start(&mut self, watch: &Watch) -> Result<(Config, Option<Init>)> {
        let Some(name) = self.init.clone() else {
            return Ok((self.model.config_for(&self.data)?, None));
        };
        self.model.check()?;
        if let Some(own) = self.newest() {
            let checkpoint = Checkpoint::open(&own)?;
            let vit = checkpoint.model().vit().cloned().ok_or_else(|| no_transformer(&own))?;
            return Ok((vit, None));
        }
        let init = Init::open(&name, &self.model, &self.loading, watch)?;
        // Which tokens it will name is found out later.
        let model = init.checkpoint.model().pretrained(0);
        let vit = model.ok_or_else(|| no_transformer(&init.path))?.vit;
        same_patches(&name, self.model.patch_size, vit.patch)?;
        self.data = self.data.seen_by(&name.to_string_lossy(), init.channels()?)?;
        let vit = init.resized(vit, &self.model, &self.loading)?;
        let without_effect = self.model.settle_to(&vit);
        if !without_effect.is_empty() {
            let names = without_effect.join(", ");
            watch.note(&format!("{}: its own sizes hold, and {names} without effect", init.path.display()));
        }
        self.take_tokenizer(&name)?;
        Ok((vit, Some(init)))
    }

    /// Takes the tokenizer of the run that `--init` is from, unless one is given or a new one is asked for.
    fn take_tokenizer(&mut self, init: &Path) -> Result<()> {
        let wanted = self.objective.predict == TargetKind::Tokens && !self.new_tokenizer;
        let Some(own) = own_tokenizer(init).filter(|_| wanted && self.tokenizer.is_none()) else {
            return Ok(());
        };
        if self.tokenizer_steps.is_some() || self.tokenizer_kind != Self::default().tokenizer_kind {
            setting!(
                "--tokenizer-steps and --tokenizer-kind are those of a new tokenizer, and the one of --init is taken, {}: give \
                 --new-tokenizer, or leave them out",
                own.display()
            );
        }
        self.tokenizer = Some(own);
        Ok(())
    }
}

impl Start {
    /// Going on with a model, towards pixels.
    pub(super) fn towards_pixels(init: Init) -> Self {
        let head = match init.checkpoint.draws_pixels() {
            true => "its head goes on to draw pixels",
            false => "it draws no pixels yet: the head for these is new",
        };
        Self { init, same_tokens: false, head: head.to_owned() }
    }

    /// Going on with a model, towards the tokens of the tokenizer of this name; none where one is trained first.
    pub(super) fn new(init: Init, name: &Path, tokenizer: Option<&Path>, watch: &Watch) -> Result<Self> {
        let names_tokens = matches!(init.checkpoint.model(), Model::Mim(_));
        let (same_tokens, head) = match (tokenizer, own_tokenizer(name)) {
            _ if !names_tokens => {
                (false, "it names no visual tokens yet: the head for these is new".to_owned())
            }
            (Some(given), Some(own)) if is_same_file(given, &own) => {
                (true, format!("its head goes on to name the tokens of {}", given.display()))
            }
            (Some(given), None) if is_dalle(given, watch)? => (
                true,
                "its head goes on to name the tokens of DALL-E, as that of the released models".to_owned(),
            ),
            (Some(given), _) => {
                let given = given.display();
                (false, format!("{given} names other tokens than it was trained for: its head is new"))
            }
            (None, own) => (false, of_new_tokens(own.is_some())),
        };
        Ok(Self { init, same_tokens, head })
    }

    /// How the pixels of its pictures are made: with its statistics, in the released code's way.
    pub(super) fn preprocessing(&self, vit: &Config, settings: &PretrainSettings) -> Result<Preprocessing> {
        let normalise = self.init.normalise(vit, &settings.model)?;
        Ok(Preprocessing { normalise, ..Preprocessing::unilm(vit.image) })
    }

    /// Its parameters, with what it lacks drawn anew.
    pub(super) fn params<O: Ops>(&self, ops: &O, job: &Pretraining) -> Result<Mim<O::Tensor>> {
        let Pretraining { settings, config, .. } = job;
        let options = settings.loading.options(settings.model.image_size);
        let (seed, checkpoint) = (settings.training.seed, &self.init.checkpoint);
        let mut loaded = checkpoint.pretrained(ops, config, options, self.same_tokens, seed)?;
        loaded.params.vit.set_drop_path(config.vit.drop_path);
        Ok(self.described(loaded, &job.watch))
    }

    /// The same, of a model that draws pixels.
    pub(super) fn pixel_params<O: Ops>(&self, ops: &O, job: &Pretraining) -> Result<PixelMim<O::Tensor>> {
        let Pretraining { settings, config, .. } = job;
        let options = settings.loading.options(settings.model.image_size);
        let checkpoint = &self.init.checkpoint;
        let mut loaded = checkpoint.pretrained_pixels(ops, &config.vit, options, settings.training.seed)?;
        loaded.params.vit.set_drop_path(config.vit.drop_path);
        Ok(self.described(loaded, &job.watch))
    }

    /// Says what was taken and what is new.
    fn described<P>(&self, Loaded { params, report }: Loaded<P>, watch: &Watch) -> P {
        let path = self.init.path.display();
        watch.note(&format!("{path}: {report}"));
        watch.note(&format!("{path}: {}", self.head));
        watch.note(&format!("{path}: the moments of the optimiser begin at zero, as in every new run"));
        params
    }
}

/// The tokenizer that the run of a checkpoint was pre-trained with.
fn own_tokenizer(init: &Path) -> Option<PathBuf> {
    tokenizer_of(run_of(init)?)
}

fn of_new_tokens(had: bool) -> String {
    let why = match had {
        true => "a new tokenizer is trained, as --new-tokenizer asks for",
        false => {
            "no tokenizer comes with it, so one is trained (--tokenizer dalle is that of the released models)"
        }
    };
    format!("{why}: its tokens have other numbers, and the head that names them is new")
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Whether a tokenizer is that of the released models: no other of its sizes is known.
fn is_dalle(name: &Path, watch: &Watch) -> Result<bool> {
    Ok(match load::tokenizer_model(name, watch)? {
        Model::Tokenizer(found) => {
            found == TokenizerConfig { decoder_init: found.decoder_init, ..TokenizerConfig::dalle() }
        }
        _ => false,
    })
}
