//! Segmenters: images to the class of every pixel.

use crate::device::{Device, Work};
use crate::error::{Error, Place, Result, setting};
use crate::load::{Opened, SegmenterModel};
use crate::loaders::decodable;
use crate::memory::refuse_beyond;
use crate::on::On;
use crate::picture;
use crate::progress::Watch;
use crate::settings::number::within;
use crate::settings::{OpenSettings, Sides};
use beit_data::{
    Channels, Filter, Fit, Image, Mask, Normalise, Preprocessing, Scale, SegmentationView, Source, palette,
};
use beit_heads::SegmenterConfig;
use beit_heads::segmenter::HeadRunning;
use beit_ops::Ops;
use beit_train::{View, Windows};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// A segmenter that is ready to use.
///
/// ```no_run
/// let segmenter = beit::Segmenter::open("runs/finetune-001", beit::Device::auto()?)?;
/// let image = beit::Image::open("street.jpg")?;
/// let found = segmenter.segment(&image)?;
/// for share in found.shares() {
///     println!("{:.4}  {}", share.share, share.label);
/// }
/// found.write_mask("street-mask.png")?;
/// # Ok::<(), beit::Error>(())
/// ```
#[derive(Clone)]
pub struct Segmenter {
    engine: Rc<dyn Engine>,
    labels: Arc<[String]>,
    colours: Arc<[[u8; 3]]>,
    config: SegmenterConfig,
    preprocessing: Preprocessing,
    device: Device,
}

/// How much of the colour of its class a pixel gets.
const ALPHA: f32 = 0.5;

/// How a picture is looked at.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct ViewSettings {
    /// Look at pictures at so many times their size, and take the mean of the probabilities; 1 where nothing is said
    #[cfg_attr(feature = "clap", arg(long, value_delimiter = ',', value_name = "RATIO,…"))]
    pub scales: Vec<f64>,
    /// Look at the mirrored pictures too
    #[cfg_attr(feature = "clap", arg(long))]
    pub flip: bool,
    /// Pixels between neighbouring windows; two thirds of a window where nothing is said
    #[cfg_attr(feature = "clap", arg(long, value_name = "PIXELS"))]
    pub stride: Option<Sides>,
    /// Squash pictures to the model's size instead of moving windows over them
    #[cfg_attr(feature = "clap", arg(long, conflicts_with = "stride"))]
    pub whole: bool,
}

impl ViewSettings {
    /// Refuses numbers with which nothing is seen.
    pub(crate) fn check(&self) -> Result<()> {
        /// A picture of a hundred times its size has no detail that there was not.
        const MOST: f64 = 100.0;
        self.scales.iter().try_for_each(|&ratio| within("--scales", "a ratio", ratio, 0.01..=MOST))?;
        if self.stride.is_some_and(|Sides(sides)| sides.contains(&0)) {
            setting!("--stride 0: expected at least 1 pixel");
        }
        Ok(())
    }

    fn ratios(&self) -> &[f64] {
        if self.scales.is_empty() { &[1.0] } else { &self.scales }
    }
}

/// What a segmenter does on its device.
trait Engine {
    /// The class of every pixel of a picture of the size `to`.
    fn segment(&self, views: &[View], windows: &Windows, to: [usize; 2]) -> Result<Vec<u8>>;
    /// A checksum of the parameters and the running statistics.
    fn checksum(&self) -> Result<String>;
}

/// A model and its running statistics.
struct Params<T> {
    model: beit_heads::Segmenter<T>,
    running: HeadRunning<T>,
}

impl<O: Ops> Engine for On<O, Params<O::Tensor>> {
    fn segment(&self, views: &[View], windows: &Windows, to: [usize; 2]) -> Result<Vec<u8>> {
        let Params { model, running } = &*self.params;
        Ok(beit_train::segment(&*self.ops, (model, running), views, windows, to)?)
    }

    fn checksum(&self) -> Result<String> {
        let Params { model, running } = &*self.params;
        let of_model = crate::checksum::parameters(&*self.ops, model)?;
        Ok(format!("{of_model}{}", crate::checksum::parameters(&*self.ops, running)?))
    }
}

impl Segmenter {
    /// Opens a run, a checkpoint folder, a file (.safetensors, .pth, .bin, .pkl), an official name, or a name on the hub
    /// (`org/name`, `org/name@revision`).
    ///
    /// # Errors
    ///
    /// Nothing of this name, something else than a segmenter, or a device that fails.
    pub fn open(name: impl AsRef<Path>, device: impl Into<Device>) -> Result<Self> {
        let name = name.as_ref().to_string_lossy();
        Self::open_with(&name, &OpenSettings::default(), &device.into(), &Watch::silent())
    }

    /// [`open`](Self::open) in another way than the usual one, watched.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), or settings that do not fit.
    pub fn open_with(name: &str, settings: &OpenSettings, device: &Device, watch: &Watch) -> Result<Self> {
        Self::opened(&Opened::new(name, settings, watch)?, device, watch)
    }

    /// [`open_with`](Self::open_with) of what was found.
    pub(crate) fn opened(opened: &Opened<'_>, device: &Device, watch: &Watch) -> Result<Self> {
        opened.refuse_beyond(device)?;
        let segmenter = device.run(Open(opened))?;
        watch.note(&format!("views: {}", segmenter.describe(&ViewSettings::default())));
        Ok(segmenter)
    }

    /// A segmenter that is on a device already.
    pub(crate) fn on<O: Ops + 'static>(
        ops: &Rc<O>,
        opened: SegmenterModel<O::Tensor>,
        device: &Device,
    ) -> Self {
        let SegmenterModel { params: model, running, class_names, preprocessing } = opened;
        let config = model.config().clone();
        let colours = palette(config.classes).into();
        let engine = Rc::new(On::new(ops, Params { model, running }));
        Self { engine, labels: class_names.into(), colours, config, preprocessing, device: device.clone() }
    }

    /// The names of the classes, in the order of their numbers.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The model's sizes.
    #[must_use]
    pub fn config(&self) -> &SegmenterConfig {
        &self.config
    }

    /// The same with other colours of classes, where there are as many.
    pub(crate) fn coloured(mut self, colours: Option<&[[u8; 3]]>) -> Self {
        if let Some(colours) = colours.filter(|colours| colours.len() == self.labels.len()) {
            self.colours = colours.into();
        }
        self
    }

    /// The channels that it sees.
    pub(crate) fn channels(&self) -> Channels {
        self.preprocessing.normalise.channels
    }

    /// An image under a mask of its own, in the colours of the answers.
    pub(crate) fn shown(&self, image: &Image, mask: &Mask) -> Image {
        image.overlaid(mask, &self.colours, ALPHA)
    }

    /// The class of every pixel of an image, at its own size.
    ///
    /// # Errors
    ///
    /// The device, or logits that are not finite.
    pub fn segment(&self, image: &Image) -> Result<Segmentation> {
        self.segment_with(image, &ViewSettings::default())
    }

    /// [`segment`](Self::segment) with other views than the usual one.
    ///
    /// # Errors
    ///
    /// As [`segment`](Self::segment), or settings with which nothing is seen.
    pub fn segment_with(&self, image: &Image, views: &ViewSettings) -> Result<Segmentation> {
        self.check(views)?;
        self.preprocessing.normalise.channels.check(image)?;
        let ids = self.classes_of(image, views)?;
        let mask = Mask::new(image.height(), image.width(), ids);
        Ok(Segmentation { mask, labels: Arc::clone(&self.labels), colours: Arc::clone(&self.colours) })
    }

    /// Every image of a source. `each` gets the number of the image in the source, the image, and what was found; images that cannot be
    /// decoded are named to the watcher and left out. Returns how many these were.
    ///
    /// # Errors
    ///
    /// The device, logits that are not finite, or whatever `each` returns.
    pub fn segment_source<E: From<Error>>(
        &self,
        source: &Arc<dyn Source>,
        views: &ViewSettings,
        watch: &Watch,
        mut each: impl FnMut(usize, &Image, Segmentation) -> Result<(), E>,
    ) -> Result<usize, E> {
        self.check(views)?;
        let mut decoded = 0;
        for (index, image) in decodable(source, 0..source.len(), watch) {
            decoded += 1;
            let found = self.segment_with(&image, views).at(|| source.name(index))?;
            each(index, &image, found)?;
        }
        Ok(source.len() - decoded)
    }

    /// Refuses views with which nothing is seen, or not everything.
    pub(crate) fn check(&self, views: &ViewSettings) -> Result<()> {
        views.check()?;
        let [height, width] = self.config.vit.image;
        match views.stride {
            Some(Sides([down, across])) if down > height || across > width => setting!(
                "--stride {down}x{across}: expected at most {height}x{width}, the windows of this model: nothing sees what lies between them otherwise"
            ),
            _ => Ok(()),
        }
    }

    /// The class of every pixel, row by row.
    pub(crate) fn classes_of(&self, image: &Image, settings: &ViewSettings) -> Result<Vec<u8>> {
        let own = self.view(settings);
        let mirrored = settings.flip.then(|| {
            let mut mirrored = image.clone();
            mirrored.flip_horizontal();
            mirrored
        });
        let pictures: Vec<_> = [Some((image, false)), mirrored.as_ref().map(|image| (image, true))]
            .into_iter()
            .flatten()
            .collect();
        let windows = self.windows(settings);
        let sizes: Vec<_> =
            settings.ratios().iter().map(|&ratio| self.at_least_a_window(own.scale, image, ratio)).collect();
        self.refuse_beyond(&sizes.repeat(pictures.len()), &windows)?;
        let view = |size, (image, mirrored)| {
            let planes = SegmentationView { scale: Scale::Squash(size), ..own }.apply(image);
            View { planes, mirrored }
        };
        let views: Vec<View> =
            sizes.iter().flat_map(|&size| pictures.iter().map(move |&picture| view(size, picture))).collect();
        let to = [image.height(), image.width()];
        self.engine.segment(&views, &windows, to)
    }

    /// Refuses views of these sizes whose logits do not fit into the machine.
    fn refuse_beyond(&self, views: &[[usize; 2]], windows: &Windows) -> Result<()> {
        /// Asking the system what is free takes longer than needing so little is worth.
        const LITTLE: u128 = 256 * 1024 * 1024;
        let bytes = 4 * beit_train::numbers_held(views, windows, self.config.classes);
        if bytes < LITTLE {
            return Ok(());
        }
        let sizes: Vec<_> = views.iter().map(|[height, width]| format!("{height}x{width}")).collect();
        let what = format!(
            "a picture that is looked at in {} pixels in {} classes",
            sizes.join(", "),
            self.config.classes
        );
        refuse_beyond(&self.device, &what, bytes, "--scales, or take --whole or a smaller picture")
    }

    /// `[H, W]` of a picture at a ratio. Where views have a scale of their own, no side is shorter than a window's (`SETR_Resize` of the
    /// released code).
    fn at_least_a_window(&self, scale: Scale, image: &Image, ratio: f64) -> [usize; 2] {
        let size = [image.height(), image.width()];
        let scaled = scale.size(size, ratio);
        let window = self.config.vit.image;
        let short = match scale {
            Scale::Own => 1.0,
            _ => (0..2).map(|side| window[side] as f64 / scaled[side] as f64).fold(1.0, f64::max),
        };
        scaled.map(|side| (side as f64 * short).round() as usize)
    }

    fn view(&self, settings: &ViewSettings) -> SegmentationView {
        let Preprocessing { size, fit, filter, normalise } = self.preprocessing;
        match fit {
            Fit::Squash => SegmentationView { scale: Scale::Squash(size), filter, normalise },
            _ if settings.whole => {
                SegmentationView { scale: Scale::Squash(size), filter: Filter::Bilinear, normalise }
            }
            _ => self.preprocessing.segment().view(),
        }
    }

    fn windows(&self, settings: &ViewSettings) -> Windows {
        let windows = Windows::of_size(self.config.vit.image);
        Windows { stride: settings.stride.map_or(windows.stride, |Sides(stride)| stride), ..windows }
    }

    /// How pictures are looked at, for a person and to compare by.
    pub(crate) fn describe(&self, settings: &ViewSettings) -> String {
        let SegmentationView { scale, normalise, .. } = self.view(settings);
        let Windows { size: [height, width], stride: [down, across] } = self.windows(settings);
        let scale = match scale {
            Scale::Own => "pictures of their own size".to_owned(),
            Scale::Within { long, short } => format!("pictures within {long}x{short} pixels"),
            Scale::Squash([height, width]) => format!("pictures squashed to {height}x{width} pixels"),
        };
        let ratios = settings.ratios().iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
        let mirrored = if settings.flip { ", and mirrored" } else { "" };
        let Normalise { mean, std, .. } = normalise;
        format!(
            "{scale}, times {ratios}{mirrored}; windows of {height}x{width}, {down}x{across} apart; mean {mean:?}, deviation {std:?}"
        )
    }

    /// What tells this model from others: its numbers, and which blocks its head reads.
    pub(crate) fn stamp(&self) -> Result<String> {
        Ok(format!("{}, blocks {:?}", self.engine.checksum()?, self.config.taps))
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }
}

struct Open<'a>(&'a Opened<'a>);

impl Work for Open<'_> {
    type Output = Segmenter;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, device: &Device) -> Result<Segmenter> {
        Ok(Segmenter::on(ops, self.0.segmenter(&**ops)?, device))
    }
}

/// What a segmenter says to one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Segmentation {
    mask: Mask,
    labels: Arc<[String]>,
    colours: Arc<[[u8; 3]]>,
}

/// How much of an image a class has.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Share<'a> {
    /// The number of the class.
    pub class: usize,
    /// Its name.
    pub label: &'a str,
    /// Its pixels.
    pub pixels: u64,
    /// 0 to 1; those of all classes add up to 1.
    pub share: f64,
}

impl Segmentation {
    /// The class of every pixel.
    #[must_use]
    pub fn mask(&self) -> &Mask {
        &self.mask
    }

    /// The classes that were found, the largest first; of equals, the first class.
    #[must_use]
    pub fn shares(&self) -> Vec<Share<'_>> {
        let (counts, all) = (self.mask.histogram(), self.mask.ids().len() as f64);
        let classes = self.labels.iter().enumerate().zip(counts).filter(|(_, pixels)| *pixels > 0);
        let mut shares: Vec<Share<'_>> = classes
            .map(|((class, label), pixels)| Share {
                class,
                label: label.as_str(),
                pixels,
                share: pixels as f64 / all,
            })
            .collect();
        shares.sort_by_key(|share| std::cmp::Reverse(share.pixels));
        shares
    }

    /// The image under its mask.
    ///
    /// # Panics
    ///
    /// If it is not the image that was segmented, but one of another size.
    #[must_use]
    pub fn overlay(&self, image: &Image) -> Image {
        image.overlaid(&self.mask, &self.colours, ALPHA)
    }

    /// Draws the image, and beside it the image under its mask.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    ///
    /// # Panics
    ///
    /// As [`overlay`](Self::overlay).
    pub fn write_overlay(&self, path: impl AsRef<Path>, image: &Image) -> Result<()> {
        picture::write_grid(path.as_ref(), &[vec![image.clone(), self.overlay(image)]])
    }

    /// Writes the mask as a PNG whose pixels are the numbers of classes, with a palette.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn write_mask(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let mut bytes = Vec::new();
        self.mask.write_png(&mut bytes, &self.colours).map_err(Error::file("write", path))?;
        crate::files::write(path, &picture::signed(&bytes))
    }
}
