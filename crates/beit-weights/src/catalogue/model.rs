//! What model a checkpoint is for.

use super::architecture::Architecture;
use super::entry::{Entry, Family, Task};
use crate::config::{Labelled, Model, Segmenter};
use crate::labels::for_classes;
use beit_heads::{ClassifierConfig, HeadConfig, MimConfig, Pooling, SegmenterConfig};
use beit_vit::Config;

/// The kinds of document that RVL-CDIP has, in the order of its labels (Harley et al., 2015).
const RVL_CDIP: [&str; 16] = [
    "letter",
    "form",
    "email",
    "handwritten",
    "advertisement",
    "scientific report",
    "scientific publication",
    "specification",
    "file folder",
    "news article",
    "budget",
    "invoice",
    "presentation",
    "questionnaire",
    "resume",
    "memo",
];

impl Entry {
    /// What `config.json` of such a checkpoint would describe; none where its entry leaves something out.
    #[must_use]
    pub fn model(&self) -> Option<Model> {
        match self.task {
            Task::Mim => self.mim().map(Model::Mim),
            Task::Classify => self.classifier().map(Model::Classifier),
            Task::Encoder => self.encoder().map(Model::Encoder),
            Task::Segment => self.segmenter().map(Model::Segmenter),
            Task::Tokenizer => Some(Model::Tokenizer(beit_tokenizer::Config::dalle())),
        }
    }

    /// Bytes of all tensors as single-precision numbers, with the index of relative positions, 8 bytes a pair of tokens,
    /// that published files store for each table. A file is longer by its header and what else it stores.
    #[must_use]
    pub fn payload(&self) -> usize {
        let index = |architecture: &Architecture| {
            let tokens = architecture.backbone().tokens();
            8 * architecture.tables() * tokens * tokens
        };
        4 * self.parameters + self.architecture.as_ref().map_or(0, index)
    }

    fn mim(&self) -> Option<MimConfig> {
        let architecture = self.architecture.as_ref()?;
        let vit = Config { mask_token: true, final_norm: true, ..architecture.backbone() };
        Some(MimConfig { vit, vocab: architecture.vocab? })
    }

    fn classifier(&self) -> Option<Labelled> {
        let architecture = self.architecture.as_ref()?;
        let (classes, pooling) = (architecture.classes?, architecture.pooling?);
        let classifier = ClassifierConfig::on(architecture.backbone(), classes, pooling);
        let labels = match for_classes(classes) {
            Some(labels) => labels.names().map(str::to_owned).collect(),
            None if self.family == Family::Dit => RVL_CDIP.map(str::to_owned).to_vec(),
            None => return Some(Labelled::unnamed(classifier)),
        };
        Some(Labelled { classifier, labels })
    }

    /// UPerNet on the usual blocks, as in the authors' configurations of mmsegmentation.
    fn segmenter(&self) -> Option<Segmenter> {
        let architecture = self.architecture.as_ref()?;
        let (vit, classes) = (architecture.backbone(), architecture.classes?);
        let (taps, head) = (SegmenterConfig::usual_taps(vit.depth), HeadConfig::upernet(vit.width));
        Some(Segmenter::unnamed(SegmenterConfig::on(vit, classes, taps, head)))
    }

    /// As for a classifier, a norm of the mean takes the place of the final norm.
    fn encoder(&self) -> Option<Config> {
        let architecture = self.architecture.as_ref()?;
        let final_norm = architecture.pooling? == Pooling::Cls;
        Some(Config { final_norm, ..architecture.backbone() })
    }
}
