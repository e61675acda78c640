//! Samples and the batches they are collated into: plain vectors with documented shapes.

/// What the loader makes of one image, and how many of them make a batch.
pub trait Sample: Send + Sized + 'static {
    /// What a batch is.
    type Batch: Send + 'static;

    /// Joins samples, at least one, in order.
    fn collate(samples: Vec<Self>) -> Self::Batch;
}

/// `[C, H, W]` pixels alone; a batch is `[B, C, H, W]`.
impl Sample for Vec<f32> {
    type Batch = Vec<f32>;

    fn collate(samples: Vec<Self>) -> Vec<f32> {
        samples.concat()
    }
}

/// One image of masked image modelling: two views of one crop, and a mask.
#[derive(Clone, Debug, PartialEq)]
pub struct PretrainSample {
    /// What the transformer sees, normalised, `[C, H, W]`.
    pub pixels: Vec<f32>,
    /// What the tokenizer sees, in (0, 1), `[C, h, w]`.
    pub token_pixels: Vec<f32>,
    /// Which of the N patches to predict, `[N]`.
    pub mask: Vec<bool>,
}

/// A batch of [`PretrainSample`].
#[derive(Clone, Debug, PartialEq)]
pub struct PretrainBatch {
    /// `[B, C, H, W]`.
    pub pixels: Vec<f32>,
    /// `[B, C, h, w]`.
    pub token_pixels: Vec<f32>,
    /// `[B, N]`.
    pub masks: Vec<bool>,
}

impl Sample for PretrainSample {
    type Batch = PretrainBatch;

    fn collate(samples: Vec<Self>) -> PretrainBatch {
        PretrainBatch {
            pixels: concat(&samples, |sample| &sample.pixels),
            token_pixels: concat(&samples, |sample| &sample.token_pixels),
            masks: concat(&samples, |sample| &sample.mask),
        }
    }
}

/// One image with its class.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledSample {
    /// Normalised, `[C, H, W]`.
    pub pixels: Vec<f32>,
    /// The class.
    pub label: u32,
}

/// A batch of [`LabelledSample`].
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledBatch {
    /// `[B, C, H, W]`.
    pub pixels: Vec<f32>,
    /// `[B]`.
    pub labels: Vec<u32>,
}

impl Sample for LabelledSample {
    type Batch = LabelledBatch;

    fn collate(samples: Vec<Self>) -> LabelledBatch {
        LabelledBatch {
            pixels: concat(&samples, |sample| &sample.pixels),
            labels: samples.iter().map(|sample| sample.label).collect(),
        }
    }
}

/// One image with the classes of its pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentationSample {
    /// Normalised, `[C, H, W]`.
    pub pixels: Vec<f32>,
    /// The class of each pixel, or 255 where it is ignored, `[H · W]`.
    pub labels: Vec<u32>,
}

/// A batch of [`SegmentationSample`].
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentationBatch {
    /// `[B, C, H, W]`.
    pub pixels: Vec<f32>,
    /// `[B · H · W]`.
    pub labels: Vec<u32>,
}

impl Sample for SegmentationSample {
    type Batch = SegmentationBatch;

    fn collate(samples: Vec<Self>) -> SegmentationBatch {
        SegmentationBatch {
            pixels: concat(&samples, |sample| &sample.pixels),
            labels: concat(&samples, |sample| &sample.labels),
        }
    }
}

fn concat<S, T: Copy>(samples: &[S], part: impl Fn(&S) -> &[T]) -> Vec<T> {
    let mut joined = Vec::with_capacity(samples.first().map_or(0, |first| part(first).len()) * samples.len());
    samples.iter().for_each(|sample| joined.extend_from_slice(part(sample)));
    joined
}
