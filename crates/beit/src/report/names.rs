//! What a person calls what is measured.

/// A measure.
pub(super) struct Named {
    /// What it is called.
    pub(super) title: String,
    /// What it is.
    pub(super) about: &'static str,
    /// What stands at its axis.
    pub(super) unit: &'static str,
}

/// What says where a run is, and nothing of how it goes.
pub(super) const HIDDEN: [&str; 2] = ["epoch", "best"];

/// Key, title, what it is, and what stands at the axis, in the order of the page.
const MEASURES: [(&str, &str, &str, &str); 16] = [
    ("loss", "Loss", "mean since the last report", "loss"),
    ("accuracy", "Accuracy", "share of predictions that are right", "share"),
    ("miou", "Mean intersection over union", "", "share"),
    ("token-accuracy", "Accuracy of masked tokens", "", "share"),
    ("pixel-error", "Error of masked pixels", "mean squared difference", "error"),
    ("baseline", "Baseline", "accuracy that needs no model", "share"),
    ("gap", "Gap", "share of the way from the baseline to 1", "share"),
    ("best_layer", "Best block", "accuracy with its frozen features", "share"),
    ("last_layer", "Last block", "accuracy with its frozen features", "share"),
    ("pixels", "Pixels", "accuracy without a model", "share"),
    ("lr", "Learning rate", "of the last step", "rate"),
    ("grad_norm", "Norm of the gradients", "before clipping", "norm"),
    ("images_per_second", "Throughput", "", "images a second"),
    ("data_wait", "Waiting for data", "share of the time", "share"),
    ("batches_ready", "Batches ready", "when one was asked for", "batches"),
    ("exchange", "Adding up over processes", "share of the time", "share"),
];

/// Where a measure stands among others: those without a place behind the others.
pub(super) fn order(name: &str) -> usize {
    MEASURES.iter().position(|measure| measure.0 == name).unwrap_or(MEASURES.len())
}

pub(super) fn named(name: &str) -> Named {
    match MEASURES.get(order(name)) {
        Some(&(_, title, about, unit)) => Named { title: title.to_owned(), about, unit },
        None => Named { title: name.replace('_', " "), about: "", unit: "value" },
    }
}

/// Key and title, in the order of the page.
const PHASES: [(&str, &str); 10] = [
    ("tokenizer", "Training of the tokenizer"),
    ("pretrain", "Pre-training"),
    ("features", "What is learnt, judged on the way"),
    ("finetune", "Fine-tuning"),
    ("checkpoint", "Checkpoints, on images that were held out"),
    ("spike", "Steps that were left out"),
    ("tokenizer_quality", "Tokenizer"),
    ("evaluate_tokens", "Masked tokens"),
    ("evaluate_pixels", "Masked pixels"),
    ("evaluate", "Evaluation"),
];

pub(super) fn phase_order(phase: &str) -> usize {
    PHASES.iter().position(|of| of.0 == phase).unwrap_or(PHASES.len())
}

pub(super) fn phase(phase: &str) -> &str {
    PHASES.get(phase_order(phase)).map_or(phase, |of| of.1)
}

/// A number for a person: counts are whole.
pub(super) fn value(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 && value.abs() < 1e15 => format!("{value}"),
        size if (1e-3..1e6).contains(&size) => format!("{value:.4}"),
        _ => format!("{value:.3e}"),
    }
}
