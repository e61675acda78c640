//! What model a checkpoint is for.

use super::architecture::Architecture;
use super::entry::{Entry, Task};
use crate::config::{Labelled, Model};
use crate::labels::for_classes;
use beit_heads::{ClassifierConfig, MimConfig};
use beit_vit::Config;

impl Entry {
    /// What `config.json` of such a checkpoint would describe; none for what this project cannot run.
    #[must_use]
    pub fn model(&self) -> Option<Model> {
        match self.task {
            Task::Mim => self.mim().map(Model::Mim),
            Task::Classify => self.classifier().map(Model::Classifier),
            Task::Segment => None,
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
        Some(match for_classes(classes) {
            Some(labels) => Labelled { classifier, labels: labels.names().map(str::to_owned).collect() },
            None => Labelled::unnamed(classifier),
        })
    }
}
