//! Tokenizers: pictures to visual tokens and back.

use crate::any_tokenizer::AnyTokenizer;
use crate::device::{Device, Work};
use crate::error::{Error, Result, unfit};
use crate::load;
use crate::loaders::{Loading, decodable};
use crate::memory;
use crate::on::On;
use crate::picture;
use crate::progress::{Task, Watch};
use crate::settings::{DataSettings, Sides, TokenizerKind};
use beit_data::{
    Bands, Channels, Filter, Image, Loader, MAX_CHANNELS, Preprocessing, Source, Stretch, TokenizerTransform,
    logit_laplace,
};
use beit_ops::Ops;
use beit_tokenizer::{Codebook, VisualTokens};
use beit_train::{TokenizerQuality, broken_row, tokenizer_quality};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// A tokenizer that is ready to use.
///
/// ```no_run
/// let tokenizer = beit::Tokenizer::open("runs/pretrain-001", beit::Device::auto()?)?;
/// let tokens = tokenizer.encode(&beit::Image::open("photo.jpg")?, 112)?;
/// let picture = tokenizer.decode(&tokens)?;
/// # Ok::<(), beit::Error>(())
/// ```
#[derive(Clone)]
pub struct Tokenizer {
    engine: Rc<dyn Engine>,
    /// As it was opened by, for messages.
    name: Rc<str>,
    kind: TokenizerKind,
    description: Rc<str>,
    codebook: Codebook,
    /// Of the first layer.
    hidden: usize,
    draws: bool,
    device: Device,
}

/// The visual tokens of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// `[rows · columns]`, row by row.
    pub codes: Vec<u32>,
    /// Rows and columns.
    pub grid: [usize; 2],
}

trait Engine {
    /// `pixels [B, C, h, w]`, mapped, to `codes [B · rows · columns]`.
    fn codes(&self, pixels: &[f32], size: [usize; 2]) -> Result<Vec<u32>>;
    /// `codes [B · rows · columns]` to pixels `[B, C, h, w]` in 0 to 1.
    fn pictures(&self, codes: &[u32], grid: [usize; 2]) -> Result<Vec<f32>>;
    fn quality(&self, size: [usize; 2], loader: &Loader<Vec<f32>>) -> Result<TokenizerQuality>;
}

impl<O: Ops> Engine for On<O, AnyTokenizer<O::Tensor>> {
    fn codes(&self, pixels: &[f32], [height, width]: [usize; 2]) -> Result<Vec<u32>> {
        let channels = VisualTokens::<O>::codebook(&*self.params).channels;
        let batch = pixels.len() / (channels * height * width);
        let pixels = self.ops.upload([batch, channels, height, width], pixels);
        let logits = VisualTokens::logits(&*self.params, &*self.ops, &pixels);
        if let Some(row) = broken_row(&*self.ops, &logits)? {
            let positions = self.ops.shape(&logits).matrix()[0] / batch;
            return Err(beit_train::Error::VisualTokens { image: row / positions }.into());
        }
        Ok(self.ops.read_ids(&self.ops.argmax_rows(&logits))?)
    }

    fn pictures(&self, codes: &[u32], grid: [usize; 2]) -> Result<Vec<f32>> {
        let pictures = self.params.pictures(&*self.ops, codes, grid)?;
        Ok(pictures.ok_or(beit_train::Error::NoDecoder)?)
    }

    fn quality(&self, size: [usize; 2], loader: &Loader<Vec<f32>>) -> Result<TokenizerQuality> {
        Ok(tokenizer_quality(&*self.ops, &*self.params, size, loader)?)
    }
}

impl Tokenizer {
    /// Images that are encoded or drawn at once.
    const BATCH: usize = 64;

    /// Opens a tokenizer: its folder, a run that has one, an encoder's file, an official name, or a name on the hub.
    ///
    /// # Errors
    ///
    /// Nothing of this name, something else than a tokenizer, or a device that fails.
    pub fn open(name: impl AsRef<Path>, device: impl Into<Device>) -> Result<Self> {
        Self::open_with(name, &device.into(), &Watch::silent())
    }

    /// [`open`](Self::open), watched.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(name: impl AsRef<Path>, device: &Device, watch: &Watch) -> Result<Self> {
        let name = name.as_ref();
        let mut tokenizer = device.run(Open { name, watch })?;
        tokenizer.name = name.to_string_lossy().into();
        Ok(tokenizer)
    }

    /// A tokenizer that is on a device already.
    pub(crate) fn on<O: Ops + 'static>(
        ops: &Rc<O>,
        params: &Rc<AnyTokenizer<O::Tensor>>,
        device: &Device,
    ) -> Self {
        let (kind, description) = (params.kind(), params.describe().into());
        let codebook = VisualTokens::<O>::codebook(&**params);
        let draws = VisualTokens::<O>::draws(&**params);
        let engine = Rc::new(On { ops: Rc::clone(ops), params: Rc::clone(params) });
        let (hidden, device, name) = (params.hidden(), device.clone(), "the tokenizer".into());
        Self { engine, name, kind, description, codebook, hidden, draws, device }
    }

    /// How it names visual tokens.
    #[must_use]
    pub fn kind(&self) -> TokenizerKind {
        self.kind
    }

    /// One line about its kind and its sizes, for a person.
    #[must_use]
    pub fn describe(&self) -> &str {
        &self.description
    }

    /// Number of visual tokens V.
    #[must_use]
    pub fn vocab(&self) -> usize {
        self.codebook.vocab
    }

    /// Height and width in pixels of what becomes one token.
    #[must_use]
    pub fn token_sides(&self) -> [usize; 2] {
        self.codebook.sides
    }

    /// Whether it can draw what it sees: a discrete VAE can where its decoder is there.
    #[must_use]
    pub fn draws(&self) -> bool {
        self.draws
    }

    /// The visual tokens of an image that is resized to these sides (Lanczos).
    ///
    /// # Errors
    ///
    /// Sides that are no whole number of tokens, or the device.
    pub fn encode(&self, image: &Image, sides: impl Into<Sides>) -> Result<Tokens> {
        let Sides(size) = sides.into();
        let grid = self.codebook.grid(size)?;
        self.refuse_beyond(size, 1)?;
        self.check_channels(image)?;
        let pixels = logit_laplace(&image.resize(size, Filter::Lanczos));
        let codes = self.engine.codes(&pixels, size);
        Ok(Tokens { codes: codes.map_err(|error| self.named(error, |_| "the image".to_owned()))?, grid })
    }

    /// The first `count` images of a source, resized to these sides: `codes [images, rows, columns]` and those extents.
    ///
    /// # Errors
    ///
    /// An image that cannot be decoded, sides that do not fit, or the device.
    pub fn encode_source(
        &self,
        source: &dyn Source,
        sides: impl Into<Sides>,
        count: usize,
    ) -> Result<(Vec<u32>, [usize; 3])> {
        let Sides(size) = sides.into();
        let [rows, cols] = self.codebook.grid(size)?;
        self.refuse_beyond(size, count.min(Self::BATCH))?;
        let transform = transform(size);
        let (mut codes, count) = (Vec::new(), count.min(source.len()));
        for start in (0..count).step_by(Self::BATCH) {
            let mut pixels = Vec::new();
            for index in start..count.min(start + Self::BATCH) {
                let image = source.image(index)?;
                self.check_channels(&image)?;
                pixels.extend(transform.whole(&image));
            }
            let image = |row| source.name(start + row);
            codes.extend(self.engine.codes(&pixels, size).map_err(|error| self.named(error, image))?);
        }
        Ok((codes, [count, rows, cols]))
    }

    /// The most likely picture of visual tokens.
    ///
    /// # Errors
    ///
    /// No decoder, tokens of another tokenizer, or the device.
    pub fn decode(&self, tokens: &Tokens) -> Result<Image> {
        let mut all = self.decode_all(&tokens.codes, tokens.grid)?;
        match all.len() {
            1 => Ok(all.remove(0)),
            found => unfit!("expected the visual tokens of one image, found those of {found}"),
        }
    }

    /// The most likely pictures of `codes [images · rows · columns]`.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode).
    pub fn decode_all(&self, codes: &[u32], grid: [usize; 2]) -> Result<Vec<Image>> {
        self.codebook.check_codes(codes, grid)?;
        let (size, positions) = (self.size(grid), grid[0] * grid[1]);
        let mut pictures = Vec::new();
        for codes in codes.chunks(Self::BATCH / 2 * positions) {
            let decoded = self.engine.pictures(codes, grid)?;
            pictures.extend(
                decoded
                    .chunks_exact(self.codebook.channels * size[0] * size[1])
                    .map(|planes| picture::from_planes(planes, size, |v| v)),
            );
        }
        Ok(pictures)
    }

    /// Data as it sees them: a tokenizer of three channels sees RGB, unless pictures are asked for as they are.
    ///
    /// # Errors
    ///
    /// Data of other channels.
    pub fn seen(&self, data: &DataSettings) -> Result<DataSettings> {
        let channels = match (self.codebook.channels, data.channels) {
            (3, Some(3)) => Bands::new(3).map(Channels::Own),
            (3, _) => Some(Channels::Colour),
            (count, _) => Bands::new(count).map(Channels::Own),
        };
        let Some(channels) = channels else {
            unfit!(
                "{}: the tokenizer sees {} channels, expected 1 to {MAX_CHANNELS}",
                self.name,
                self.codebook.channels
            )
        };
        data.seen_by(&self.name, channels)
    }

    /// Refuses a picture of other channels.
    fn check_channels(&self, image: &Image) -> Result<()> {
        let (channels, bits) = (image.channels(), image.samples().bits());
        match channels == self.codebook.channels {
            true => Ok(()),
            false => {
                let expected = Bands::new(self.codebook.channels);
                Err(beit_data::Error::Channels { channels, bits, expected }.into())
            }
        }
    }

    /// Height and width of the picture of a grid.
    #[must_use]
    pub fn size(&self, grid: [usize; 2]) -> [usize; 2] {
        self.codebook.image(grid)
    }

    /// Refuses batches of images for which the machine has no memory.
    fn refuse_beyond(&self, size: [usize; 2], images: usize) -> Result<()> {
        memory::refuse_views(&self.device, self.codebook, self.hidden, size, images)
    }

    /// Usage of the codebook and error of reconstruction on every image of a source.
    pub(crate) fn quality(
        &self,
        size: [usize; 2],
        source: &Arc<dyn Source>,
        loading: &Loading,
    ) -> Result<TokenizerQuality> {
        self.codebook.grid(size)?;
        self.refuse_beyond(size, loading.batch_size.min(source.len()))?;
        let quality = self.engine.quality(size, &loading.token_views(source, transform(size))?);
        quality.map_err(|error| self.named(error, |index| source.name(index)))
    }

    /// Every image of a source: `seen` gets of a batch the mapped pixels `[B, C, h, w]` and the visual tokens `[B · rows · columns]`.
    pub(crate) fn each_batch(
        &self,
        size: [usize; 2],
        source: &Arc<dyn Source>,
        loading: &Loading,
        seen: &mut dyn FnMut(&[f32], &[u32]),
    ) -> Result<()> {
        self.codebook.grid(size)?;
        self.refuse_beyond(size, loading.batch_size.min(source.len()))?;
        let loader = loading.token_views(source, transform(size))?;
        loading.watch.begin(&Task::Images { total: loader.images() as u64 });
        let mut done = 0;
        for batch in loader.epoch(0)? {
            let batch = batch?;
            let name = |row: usize| source.name(batch.indices[row]);
            let codes = self.engine.codes(&batch.data, size).map_err(|error| self.named(error, name))?;
            seen(&batch.data, &codes);
            done += batch.indices.len();
            loading.watch.done(done as u64);
        }
        loading.watch.end();
        Ok(())
    }

    /// Channels of a picture.
    pub(crate) fn channels(&self) -> usize {
        self.codebook.channels
    }

    /// The error, with the names of tokenizer and image where logits are not finite.
    fn named(&self, error: Error, image: impl Fn(usize) -> String) -> Error {
        match error {
            Error::Train(beit_train::Error::VisualTokens { image: index }) => {
                Error::NotFinite { model: self.name.to_string(), image: image(index), what: "logits" }
            }
            other => other,
        }
    }

    /// Writes eight images over their reconstructions from hard tokens.
    pub(crate) fn write_reconstructions(
        &self,
        size: [usize; 2],
        source: &Arc<dyn Source>,
        path: &Path,
        watch: &Watch,
    ) -> Result<()> {
        let grid = self.codebook.grid(size)?;
        let transform = transform(size);
        let found = decodable(source, 0..source.len(), watch).take(8);
        let pixels: Vec<f32> = found.flat_map(|(_, image)| transform.whole(&image)).collect();
        let codes = self.engine.codes(&pixels, size)?;
        let originals = pixels.chunks_exact(self.codebook.channels * size[0] * size[1]);
        let originals =
            originals.map(|planes| picture::from_planes(planes, size, beit_tokenizer::pixels::unmap));
        let originals: Vec<Image> = originals.collect();
        // Each under the same stretch as its original.
        let alike = |(drawn, original): (Image, &Image)| drawn.shown_with(Stretch::of(original)).into_owned();
        let drawn = self.decode_all(&codes, grid)?.into_iter().zip(&originals).map(alike).collect();
        picture::write_grid(path, &[originals, drawn])
    }
}

/// The views of the tokenizer: random regions to train on, the whole image to look at.
pub(crate) fn transform(size: [usize; 2]) -> TokenizerTransform {
    Preprocessing::unilm(size).tokenizer(size)
}

struct Open<'a> {
    name: &'a Path,
    watch: &'a Watch,
}

impl Work for Open<'_> {
    type Output = Tokenizer;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, device: &Device) -> Result<Tokenizer> {
        Ok(Tokenizer::on(ops, &Rc::new(load::tokenizer(&**ops, self.name, self.watch)?), device))
    }
}
