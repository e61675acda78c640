//! Towards visual tokens: masked image modelling as the paper has it.

use super::goal::{Artist, Goal, Seen};
use super::{Pretraining, Recovered, Samples};
use crate::any_tokenizer::AnyTokenizer;
use crate::device::Device;
use crate::error::{Result, unfit};
use crate::load::{self, MimModel};
use crate::loaders::Loading;
use crate::masked::MaskedModel;
use crate::picture::greyed;
use crate::tokenizer::Tokenizer;
use crate::train::tokenizer::{REMEDIES, sentence};
use crate::train::tokenizer_kinds::Job as TokenizerJob;
use crate::train::{Journal, same_model};
use beit_data::Source;
use beit_heads::Mim;
use beit_ops::prelude::*;
use beit_tokenizer::{Codebook, VisualTokens};
use beit_train::{
    Communicator, MaskedImages, Record, Sink, TokenizerQuality, evaluate_tokens, token_baselines,
};
use beit_vit::Vit;
use beit_weights::save_mim;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// The visual tokens of a tokenizer.
pub(super) struct Tokens<O: Ops> {
    pub(super) tokenizer: Rc<AnyTokenizer<O::Tensor>>,
    /// The accuracy that needs no model.
    pub(super) baseline: f64,
}

impl<O: Ops + 'static> Goal<O> for Tokens<O> {
    type Params = Mim<O::Tensor>;
    type Task<'t> = MaskedImages<'t, AnyTokenizer<O::Tensor>>;

    fn vit(params: &Mim<O::Tensor>) -> &Vit<O::Tensor> {
        &params.vit
    }

    fn task(&self, job: &Pretraining) -> Self::Task<'_> {
        let (recompute, recover) = (job.settings.training.recompute, job.settings.objective.recover.into());
        MaskedImages { tokenizer: &self.tokenizer, recompute, recover, baseline: self.baseline }
    }

    fn measure(
        &self,
        ranks: &mut dyn Communicator,
        ops: &O,
        params: &Mim<O::Tensor>,
        loader: &Samples,
    ) -> Result<Recovered> {
        Ok(Recovered::Tokens(evaluate_tokens(ranks, ops, params, &*self.tokenizer, loader)?))
    }

    fn save(
        &self,
        ops: &O,
        dir: &Path,
        params: &Mim<O::Tensor>,
        more: &dyn Fn(&Path) -> Result<()>,
    ) -> Result<()> {
        save_mim(ops, dir, params, more)
    }

    fn load(&self, ops: &O, dir: &Path, params: &Mim<O::Tensor>) -> Result<Mim<O::Tensor>> {
        let loaded = beit_weights::load_mim(ops, dir)?;
        same_model(dir, &loaded.params.config(), &params.config())?;
        Ok(loaded.params)
    }

    fn artist(
        &self,
        job: &Pretraining,
        (ops, device): (&Rc<O>, &Device),
        params: Mim<O::Tensor>,
    ) -> Box<Artist> {
        let (preprocessing, grid) = (job.preprocessing, job.config.vit.grid());
        let door = Tokenizer::on(ops, &self.tokenizer, device);
        let model = MaskedModel::on(ops, MimModel { params, preprocessing });
        Box::new(move |image, mask| {
            if door.draws() {
                let seen = model.reconstruct(image, mask, &door)?;
                return Ok(Seen {
                    original: seen.original,
                    masked: seen.masked,
                    predicted: Some(seen.predicted),
                });
            }
            let view = preprocessing.view(image);
            let masked = greyed(&view, mask, grid);
            Ok(Seen { original: view.shown().into_owned(), masked, predicted: None })
        })
    }

    fn draw(
        &self,
        job: &Pretraining,
        (ops, device): (&Rc<O>, &Device),
        params: Mim<O::Tensor>,
        (held_out, path): (&Arc<dyn Source>, &Path),
    ) -> Result<()> {
        let (settings, door) = (&job.settings, Tokenizer::on(ops, &self.tokenizer, device));
        if !door.draws() {
            return Ok(());
        }
        let model = MaskedModel::on(ops, MimModel { params, preprocessing: job.preprocessing });
        let seed = settings.training.seed;
        model.write_reconstructions(path, held_out, &door, &settings.mask, 8, seed, &job.watch)
    }
}

impl Pretraining {
    /// The tokenizer in the run folder, or a new one.
    pub(super) fn own_tokenizer<O: Ops + 'static>(
        &self,
        ops: &O,
        device: &Device,
        loading: &Loading,
        (journal, untrained): (&mut Journal<'_>, bool),
    ) -> Result<AnyTokenizer<O::Tensor>> {
        let (settings, watch, size) = (&self.settings, &self.watch, self.token_size());
        let own = journal.run.tokenizer();
        match &self.tokenizer {
            Some(plan) if untrained => {
                watch.note("no --tokenizer: training one on these images first");
                let (seed, accumulate) = (settings.training.seed, settings.training.update_freq());
                let training = TokenizerJob { plan, size, seed, accumulate, run: &settings.run };
                training.train(ops, device, (&self.source, loading), journal)
            }
            _ => load::tokenizer(ops, &own, watch),
        }
    }

    /// Measures the tokenizer on images that were held out, and refuses one that is of no use.
    pub(super) fn judge<O: Ops + 'static>(
        &self,
        ops: &Rc<O>,
        device: &Device,
        tokenizer: &Rc<AnyTokenizer<O::Tensor>>,
        (loading, journal): (&Loading, &mut Journal<'_>),
        first: bool,
    ) -> Result<()> {
        let (settings, watch) = (&self.settings, &self.watch);
        let folder = settings.tokenizer.clone().unwrap_or_else(|| journal.run.tokenizer());
        same_tokens(&folder, VisualTokens::<O>::codebook(&**tokenizer), self.codebook)?;
        let door = Tokenizer::on(ops, tokenizer, device);
        if !door.draws() {
            watch.note("the tokenizer has no decoder: no reconstructions are drawn");
        }
        if !first {
            // It was judged when the run began, and its checksum is the same.
            return Ok(());
        }
        let (held_out, split) = settings.measure.held_out(&settings.data)?;
        watch.notes_of(held_out.as_ref());
        watch.note(&format!("measuring the tokenizer on {} {split} images", held_out.len()));
        let quality = door.quality(self.token_size(), &held_out, loading)?;
        watch.note(&format!("tokenizer on {} {split} images: {}", quality.images, sentence(&quality)));
        journal.metrics.record(&Record::Tokenizer { split: &split.to_string(), quality: &quality })?;
        self.accept(&folder, &quality)
    }

    /// The share of masked patches of held-out images whose token is named without a model: what accuracy is compared with while
    /// the model learns.
    pub(super) fn baseline<O: Ops + 'static>(
        &self,
        ops: &Rc<O>,
        device: &Device,
        tokenizer: &Rc<AnyTokenizer<O::Tensor>>,
        loading: &Loading,
    ) -> Result<f64> {
        let (held_out, _) = self.settings.measure.held_out(&self.settings.data)?;
        let loader = self.loader(&held_out, loading, false)?;
        let (mut ranks, vit) = (device.team().ranks(), &self.config.vit);
        Ok(token_baselines(&mut *ranks, &**ops, vit, &**tokenizer, &loader)?.baseline())
    }

    /// Refuses tokens that are of no use as targets, unless they were asked for.
    fn accept(&self, folder: &Path, quality: &TokenizerQuality) -> Result<()> {
        match quality.fault() {
            Some(fault) if self.settings.accept_tokenizer => {
                self.watch.note(&format!("going on with --accept-tokenizer: {fault}"));
                Ok(())
            }
            Some(fault) => unfit!(
                "the tokenizer {} is of no use on these images: {fault}; {REMEDIES}, or go on with --accept-tokenizer",
                folder.display()
            ),
            None => Ok(()),
        }
    }
}

/// A checksum of a tokenizer's parameters, wherever they come from.
pub(super) fn checksum<O: Ops>(ops: &O, tokenizer: &AnyTokenizer<O::Tensor>) -> Result<String> {
    match tokenizer {
        AnyTokenizer::Dvae(params) => crate::checksum::parameters(ops, &**params),
        AnyTokenizer::Encoder(params) => crate::checksum::parameters(ops, &**params),
        AnyTokenizer::KMeans(params) => crate::checksum::parameters(ops, &**params),
    }
}

/// Refuses the tokenizer of a run that began with other flags.
fn same_tokens(folder: &Path, found: Codebook, expected: Option<Codebook>) -> Result<()> {
    match expected {
        Some(expected) if found != expected => unfit!(
            "{} is another tokenizer than this run's; found {found:?}, expected {expected:?}; resume with the flags of the run",
            folder.display()
        ),
        _ => Ok(()),
    }
}
