use super::Size;

/// What is usual in pre-training where nothing is said. How the numbers of the small sizes were found is in
/// `docs/results/fashion-mnist.md`; those of the others are the released ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UsualPretraining {
    /// Images of a micro-batch.
    pub batch_size: usize,
    /// Passes over the images.
    pub epochs: u64,
    /// Peak learning rate.
    pub lr: f64,
    /// Colour jitter of the views.
    pub colour_jitter: f64,
}

impl Size {
    /// What is usual in pre-training a model of this size.
    #[must_use]
    pub const fn usual_pretraining(self) -> UsualPretraining {
        let released = UsualPretraining { batch_size: 64, epochs: 4, lr: 1.5e-3, colour_jitter: 0.4 };
        match self {
            Self::Tiny => UsualPretraining { batch_size: 32, epochs: 7, lr: 4e-3, colour_jitter: 0.0 },
            Self::Mini | Self::Midi => UsualPretraining { batch_size: 32, epochs: 40, ..released },
            Self::Small | Self::Base | Self::Large => released,
        }
    }

    /// Stochastic depth of a new model.
    #[must_use]
    pub const fn usual_drop_path(self) -> f32 {
        match self {
            Self::Tiny | Self::Mini => 0.0,
            Self::Midi | Self::Small | Self::Base | Self::Large => 0.1,
        }
    }
}
