//! Going through the rows: what is pre-trained, and how it is judged.

use super::ledger::{Entry, Ledger};
use super::settings::Judging;
use super::table::{COMMONEST, PIXELS};
use super::{Ablation, AblationJudge, AblationRow, AblationSettings};
use crate::device::Device;
use crate::error::{Error, Place, Result};
use crate::probe::{Judge, Probe, ProbeSettings, ProbedLayer};
use crate::settings::{
    DataSettings, HeldOutSettings, OpenSettings, OptimisationSettings, Resume, RunSettings, Sides,
};
use crate::train::{FinetuneSettings, FinetuneTask, Finetuning, Judged, PretrainSettings, Pretraining};
use std::path::{Path, PathBuf};

/// The data that segmentation is judged on where the data have no masks, and the sides that its pictures have.
const SCENES: &str = "scenes";
const SCENE: Sides = Sides([64, 64]);
/// The share of the training images that choose the block whose features are judged.
const CHOOSING: f64 = 0.2;
/// Of the nearest neighbours.
const K: usize = 10;
/// In the ledger, a row that was pre-trained.
const PRETRAINED: &str = "pretrain";

impl Ablation {
    /// The settings of the rows that are pre-trained, with this seed.
    pub(super) fn pretrained(&self, seed: u64) -> Vec<(AblationRow, PretrainSettings)> {
        let AblationSettings { rows, .. } = &self.settings;
        rows.iter().filter_map(|row| Some((*row, self.of_row(*row, seed)?))).collect()
    }

    /// Row by row, seed by seed.
    pub(super) fn all(&self, device: &Device, ledger: &mut Ledger) -> Result<()> {
        let AblationSettings { rows, seeds, seed: first, .. } = &self.settings;
        for number in 0..*seeds {
            for (i, row) in rows.iter().enumerate() {
                let seed = first + number;
                let place = format!(
                    "row {} ({} of {}), seed {seed} ({} of {seeds})",
                    row.name(),
                    i + 1,
                    rows.len(),
                    number + 1
                );
                match self.row(device, ledger, (*row, seed), &place) {
                    Err(stopped @ Error::Stopped(_)) => return Err(stopped),
                    done => done.at(|| &place)?,
                }
                self.draw(ledger)?;
            }
        }
        Ok(())
    }

    /// One row with one seed: what of it is not done yet.
    fn row(
        &self,
        device: &Device,
        ledger: &mut Ledger,
        (row, seed): (AblationRow, u64),
        place: &str,
    ) -> Result<()> {
        let AblationSettings { judges, .. } = &self.settings;
        let begin = |what: &str| self.watch.note(&format!("{place}: {what}"));
        if let Some(settings) = self.of_row(row, seed)
            && !ledger.has(row.name(), seed, PRETRAINED)
        {
            begin("pre-training");
            let done = Pretraining::new(settings, &self.watch)?.run(device)?;
            ledger.add(entry(row.name(), seed, PRETRAINED, done.recovered.value()))?;
        }
        for judge in judges.iter().filter(|judge| row != AblationRow::Scratch || judge.trains()) {
            if ledger.has(row.name(), seed, judge.name()) {
                continue;
            }
            begin(judge.title());
            match judge {
                AblationJudge::Finetune => {
                    self.fine_tuned(device, ledger, (row, seed), FinetuneTask::Classify)?
                }
                AblationJudge::Segment => {
                    self.fine_tuned(device, ledger, (row, seed), FinetuneTask::Segment)?
                }
                AblationJudge::Linear | AblationJudge::Knn => self.probed(device, ledger, (row, seed))?,
            }
        }
        Ok(())
    }

    /// The settings of pre-training; none where there is none.
    fn of_row(&self, row: AblationRow, seed: u64) -> Option<PretrainSettings> {
        let AblationSettings { data, model, crop, tokenizer_kind, longer, .. } = &self.settings;
        let base = PretrainSettings {
            data: data.clone(),
            model: model.clone(),
            training: self.settings.training(seed),
            crop: *crop,
            tokenizer_kind: *tokenizer_kind,
            run: self.run_settings(row, seed, PRETRAINED),
            ..PretrainSettings::default()
        };
        row.applied(base, *longer)
    }

    fn folder(&self, row: AblationRow, seed: u64, what: &str) -> PathBuf {
        self.settings.out.join(row.name()).join(format!("seed-{seed}")).join(what)
    }

    /// A run that begins, or goes on where it was stopped.
    fn run_settings(&self, row: AblationRow, seed: u64, what: &str) -> RunSettings {
        let run = RunSettings::in_folder(self.folder(row, seed, what));
        RunSettings { resume: Resume::Auto, keep: 1, ..run }
    }

    fn fine_tuned(
        &self,
        device: &Device,
        ledger: &mut Ledger,
        (row, seed): (AblationRow, u64),
        task: FinetuneTask,
    ) -> Result<()> {
        let judge = match task {
            FinetuneTask::Classify => AblationJudge::Finetune,
            FinetuneTask::Segment => AblationJudge::Segment,
        };
        let settings = self.fine_tuning((row, seed), judge);
        let done = Finetuning::new(settings, &self.watch)?.run(device)?;
        let value = match done.judged {
            Judged::Classes { accuracy, .. } => accuracy.top1,
            Judged::Pixels { accuracy, .. } => {
                ledger.add(entry(COMMONEST, seed, judge.name(), accuracy.miou_of_commonest))?;
                accuracy.miou
            }
        };
        ledger.add(entry(row.name(), seed, judge.name(), value))
    }

    fn fine_tuning(&self, (row, seed): (AblationRow, u64), judge: AblationJudge) -> FinetuneSettings {
        let AblationSettings { data, model, labels, .. } = &self.settings;
        let scratch = row == AblationRow::Scratch;
        let settings = FinetuneSettings {
            data: data.clone(),
            labels: *labels,
            init: (!scratch).then(|| self.folder(row, seed, PRETRAINED)),
            from_scratch: scratch,
            model: if scratch { model.clone() } else { FinetuneSettings::default().model },
            training: self.further(seed, judge),
            run: self.run_settings(row, seed, judge.name()),
            ..FinetuneSettings::default()
        };
        match judge {
            AblationJudge::Segment => self.segmenting(settings),
            _ => settings,
        }
    }

    /// How a model is trained further.
    fn further(&self, seed: u64, judge: AblationJudge) -> OptimisationSettings {
        let AblationSettings { finetune_steps, finetune_lr, segment_steps, segment_lr, .. } = self.settings;
        let (steps, lr) = match judge {
            AblationJudge::Segment => (segment_steps, segment_lr),
            _ => (finetune_steps, finetune_lr),
        };
        OptimisationSettings { steps: Some(steps), lr, seed, ..OptimisationSettings::default() }
    }

    /// The same for segmentation: on the images themselves if they have masks.
    fn segmenting(&self, settings: FinetuneSettings) -> FinetuneSettings {
        let settings =
            FinetuneSettings { task: FinetuneTask::Segment, segmentation: self.settings.head, ..settings };
        if self.judging == Judging::Pixels {
            return settings;
        }
        let mut model = settings.model.clone();
        if settings.from_scratch {
            model.image_size = Some(SCENE);
        }
        let data = DataSettings { data: SCENES.to_owned(), ..DataSettings::default() };
        FinetuneSettings { data, model, labels: None, ..settings }
    }

    /// All judges of frozen features that there are, since looking at the images takes longest. A part of the training images chooses the block.
    fn probed(&self, device: &Device, ledger: &mut Ledger, (row, seed): (AblationRow, u64)) -> Result<()> {
        let run = self.folder(row, seed, PRETRAINED);
        let choosing = self.probe(device, &run, seed, HeldOutSettings::validation(CHOOSING))?;
        let judging = self.probe(device, &run, seed, HeldOutSettings::default())?;
        let by = |judge: &AblationJudge| match judge {
            AblationJudge::Linear => Some((AblationJudge::Linear, Judge::Linear { c: None })),
            AblationJudge::Knn => Some((AblationJudge::Knn, Judge::Knn { k: K })),
            AblationJudge::Finetune | AblationJudge::Segment => None,
        };
        for (judge, by) in self.settings.judges.iter().filter_map(by) {
            let chosen = best_block(&choosing.judged(&by, &self.watch)?.layers);
            let layers = judging.judged(&by, &self.watch)?.layers;
            for layer in layers {
                if layer.is_of_pixels() {
                    ledger.add(entry(PIXELS, seed, judge.name(), layer.accuracy))?;
                } else if Some(&layer.features) == chosen.as_ref() {
                    let found = entry(row.name(), seed, judge.name(), layer.accuracy);
                    ledger.add(Entry { features: Some(layer.features), ..found })?;
                }
            }
        }
        Ok(())
    }

    fn probe(&self, device: &Device, run: &Path, seed: u64, held_out: HeldOutSettings) -> Result<Probe> {
        let AblationSettings { data, labels, .. } = &self.settings;
        let settings =
            ProbeSettings { data: data.clone(), labels: *labels, held_out, seed, ..ProbeSettings::default() };
        let name = run.to_string_lossy();
        Probe::open_with(Some(&name), &OpenSettings::default(), &settings, device, &self.watch)
    }
}

/// The first of the best.
fn best_block(layers: &[ProbedLayer]) -> Option<String> {
    let blocks = layers.iter().filter(|layer| !layer.is_of_pixels());
    let best = blocks.reduce(|best, layer| if layer.accuracy > best.accuracy { layer } else { best });
    best.map(|layer| layer.features.clone())
}

fn entry(row: &str, seed: u64, what: &str, value: f64) -> Entry {
    Entry { row: row.to_owned(), seed, what: what.to_owned(), value, features: None }
}
