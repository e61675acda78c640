//! A model that was fine-tuned, for either task.

use crate::classifier::Classifier;
use crate::device::Device;
use crate::error::Result;
use crate::load::Opened;
use crate::progress::Watch;
use crate::segmenter::Segmenter;
use crate::settings::OpenSettings;
use crate::train::FinetuneTask;
use beit_data::Bands;
use beit_weights::Model;

/// A model that names classes: of images or of pixels.
#[derive(Clone)]
pub enum FineTuned {
    /// Of images.
    Classifier(Classifier),
    /// Of pixels.
    Segmenter(Segmenter),
}

impl FineTuned {
    /// Opens a model for a task, or for the task that it was trained for where none is said.
    ///
    /// # Errors
    ///
    /// As [`Classifier::open`] and [`Segmenter::open`].
    pub fn open_with(
        name: &str,
        task: Option<FinetuneTask>,
        settings: &OpenSettings,
        device: &Device,
        watch: &Watch,
    ) -> Result<Self> {
        let opened = Opened::new(name, settings, watch)?;
        Ok(match task.unwrap_or_else(|| trained_for(opened.checkpoint.model())) {
            FinetuneTask::Classify => Self::Classifier(Classifier::opened(name, &opened, device, watch)?),
            FinetuneTask::Segment => Self::Segmenter(Segmenter::opened(&opened, device, watch)?),
        })
    }
}

impl FineTuned {
    /// How many channels of a picture it sees as they are; `None` where it sees RGB of 8 bits.
    #[must_use]
    pub fn bands(&self) -> Option<Bands> {
        match self {
            Self::Classifier(classifier) => classifier.preprocessing().normalise.channels.bands(),
            Self::Segmenter(segmenter) => segmenter.channels().bands(),
        }
    }
}

/// What a model was trained for. Of one without a head of either kind, opening a classifier says what it is.
fn trained_for(model: &Model) -> FinetuneTask {
    match model {
        Model::Segmenter(_) => FinetuneTask::Segment,
        _ => FinetuneTask::Classify,
    }
}
