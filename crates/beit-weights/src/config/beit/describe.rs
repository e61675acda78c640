//! Models in transformers' words.

use super::Config;
use super::segmentation::{OURS, Segmentation};
use crate::config::family::described_by;
use crate::config::labelled::{Labelled, Segmenter};
use crate::config::model::Model;
use crate::names::Kind;
use beit_heads::{MimConfig, Pooling};
use beit_vit::RelativePositions;

impl Config {
    /// The description of a transformer with whatever head; none of a tokenizer.
    pub(in crate::config) fn describing_model(model: &Model) -> Option<Self> {
        Some(match model {
            Model::Mim(config) => Self::describing_mim(config),
            Model::Classifier(config) => Self::describing_classifier(config),
            Model::Segmenter(config) => Self::describing_segmenter(config),
            Model::Encoder(vit) => Self::describing_encoder(vit),
            Model::Tokenizer(_) | Model::KMeans(_) => return None,
        })
    }

    /// The description of a model for masked image modelling.
    fn describing_mim(config: &MimConfig) -> Self {
        Self { vocab_size: config.vocab, ..Self::describing(&config.vit, Kind::Mim) }
    }

    /// The description of a classifier.
    fn describing_classifier(Labelled { classifier, labels }: &Labelled) -> Self {
        let use_mean_pooling = classifier.pooling == Pooling::Mean;
        Self { use_mean_pooling, ..Self::describing(&classifier.vit, Kind::Classifier) }.with(labels)
    }

    /// The description of a model for semantic segmentation.
    fn describing_segmenter(model: &Segmenter) -> Self {
        let vit = &model.segmenter.vit;
        let mut config = Self::describing(vit, Kind::Segmenter);
        if !model.is_of_transformers() {
            config.architectures = vec![OURS.class.to_owned()];
            config.model_type = OURS.model_type.to_owned();
        }
        let segmentation = Some(Segmentation::describing(model));
        Self { segmentation, use_mean_pooling: !vit.final_norm, ..config }.with(&model.labels)
    }

    /// The description of a transformer without a head.
    fn describing_encoder(vit: &beit_vit::Config) -> Self {
        Self { use_mean_pooling: !vit.final_norm, ..Self::describing(vit, Kind::Encoder) }
    }

    fn with(self, labels: &[String]) -> Self {
        let numbered = || labels.iter().cloned().enumerate();
        let label2id = numbered().map(|(class, label)| (label, class)).collect();
        Self { id2label: Some(numbered().collect()), label2id: Some(label2id), ..self }
    }

    fn describing(vit: &beit_vit::Config, kind: Kind) -> Self {
        let (model_type, class) = described_by(vit, kind);
        Self {
            architectures: vec![class],
            model_type: model_type.to_owned(),
            image_size: vit.image.into(),
            patch_size: vit.patch.into(),
            num_channels: vit.channels,
            hidden_size: vit.width,
            num_hidden_layers: vit.depth,
            num_attention_heads: vit.heads,
            intermediate_size: vit.hidden,
            layer_norm_eps: vit.layer_norm_eps,
            layer_scale_init_value: Some(vit.layer_scale.unwrap_or(0.0)),
            drop_path_rate: vit.drop_path,
            use_absolute_position_embeddings: vit.absolute_positions,
            use_relative_position_bias: vit.relative_positions == RelativePositions::PerLayer,
            use_shared_relative_position_bias: vit.relative_positions == RelativePositions::Shared,
            use_mask_token: vit.mask_token,
            use_inner_norms: vit.inner_norms,
            use_key_bias: vit.key_bias,
            ..Self::default()
        }
    }
}
