//! `config.json` of timm's models: the name of an architecture, its arguments, and how pictures are prepared.

mod describe;
mod usual;

use super::infer::Known;
use super::keys::Keys;
use super::limit::{limit_eps, limit_statistics};
use crate::error::{Error, Result};
use beit_data::{Filter, Fit, Normalise, Preprocessing};
use beit_vit::Config;
pub(crate) use describe::describing;
use usual::usual;

/// A file of timm's. Sizes follow from the tensors; what does not is read here.
#[derive(Clone, Debug)]
pub(crate) struct Timm {
    architecture: String,
    /// The arguments of the architecture that differ from its own.
    args: Option<Keys>,
    /// How pictures are prepared. In the first form of these files its keys lie beside the others.
    prepared: Keys,
    /// Of all layer norms, where this project wrote the file.
    eps: Option<f64>,
    /// Names of the classes in their order.
    pub(crate) label_names: Option<Vec<String>>,
}

impl Timm {
    /// What the keys of a file say, if it is timm's.
    pub(crate) fn read(keys: &Keys) -> Result<Option<Self>> {
        if !(keys.has("architecture") || keys.has("pretrained_cfg")) {
            return Ok(None);
        }
        let prepared = keys.inside("pretrained_cfg").unwrap_or_else(|| keys.clone());
        let architecture = match keys.get("architecture")? {
            Some(architecture) => architecture,
            None => prepared.or("architecture", String::new())?,
        };
        let mut label_names = None;
        for keys in [keys, &prepared] {
            for key in ["label_names", "labels"] {
                label_names = label_names.or(keys.names(key)?);
            }
        }
        let eps = keys.get("layer_norm_eps")?;
        if let Some(eps) = eps {
            limit_eps(keys.path(), eps)?;
        }
        Ok(Some(Self { architecture, args: keys.inside("model_args"), prepared, eps, label_names }))
    }

    /// The architecture's name, for a message.
    pub(crate) fn architecture(&self) -> &str {
        &self.architecture
    }

    /// What the tensors do not tell.
    pub(crate) fn known(&self) -> Result<Known> {
        let usual = usual(&self.architecture);
        let args = self.args.as_ref();
        let heads = args.map(|args| args.get("num_heads")).transpose()?.flatten();
        let image = args.map(|args| args.sides("img_size")).transpose()?.flatten();
        Ok(Known {
            heads,
            usual: usual.map(|usual| [usual.width, usual.heads]),
            image: image.or(self.input_size()?.map(|[_, height, width]| [height, width])),
            eps: self.eps.or(usual.map(|usual| usual.eps)),
        })
    }

    /// Channels, height and width of what the model sees.
    fn input_size(&self) -> Result<Option<[usize; 3]>> {
        self.prepared.list("input_size")
    }

    /// How pictures become the pixels of a model. Absent keys are what timm takes for them.
    pub(crate) fn preprocessing(&self, vit: &Config) -> Result<Preprocessing> {
        let size = self.input_size()?.map_or(vit.image, |[_, height, width]| [height, width]);
        let interpolation: String = self.prepared.or("interpolation", Filter::Bicubic.name().to_owned())?;
        let Some(filter) = Filter::ALL.into_iter().find(|filter| filter.name() == interpolation) else {
            let problem = format!("is {interpolation}, expected bilinear, bicubic or lanczos");
            return Err(self.prepared.wrong("interpolation", problem));
        };
        let absent = Normalise::IMAGENET;
        let normalise = Normalise {
            mean: self.prepared.statistics("mean", vit.channels)?.unwrap_or(absent.mean),
            std: self.prepared.statistics("std", vit.channels)?.unwrap_or(absent.std),
            ..absent
        };
        limit_statistics(["mean", "std"], &normalise)
            .map_err(|problem| Error::config(self.prepared.path(), problem))?;
        Ok(Preprocessing { size, fit: self.fit(size)?, filter, normalise })
    }

    /// `transforms_imagenet_eval` of timm/data/transforms_factory.py.
    fn fit(&self, size: [usize; 2]) -> Result<Fit> {
        /// `DEFAULT_CROP_PCT`
        const SHARE: f64 = 0.875;
        let share = self.prepared.or("crop_pct", SHARE)?;
        if !(share > 0.0 && share <= 1.0) {
            return Err(self
                .prepared
                .wrong("crop_pct", format_args!("is {share}, expected more than 0 and at most 1")));
        }
        let scaled = size.map(|side| (side as f64 / share) as usize);
        let mode: String = self.prepared.or("crop_mode", "center".to_owned())?;
        match mode.as_str() {
            "center" => Ok(Fit::CentreCrop { least: scaled }),
            "squash" if scaled == size => Ok(Fit::Squash),
            "squash" => Ok(Fit::SquashAndCrop { to: scaled }),
            "border" => Ok(Fit::Border { within: scaled }),
            other => Err(self
                .prepared
                .wrong("crop_mode", format_args!("is {other}, expected center, squash or border"))),
        }
    }
}
