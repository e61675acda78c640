//! What lies around a model in a file.

use crate::made::{answer, answer_with, refusal, rename, saved};
use beit_weights::{Checkpoint, OpenOptions, Parameters, Target};

const PREFIXES: [&str; 16] = [
    "_orig_mod.",
    "module.",
    "module._orig_mod.",
    "model.",
    "net.",
    "network.",
    "encoder.",
    "student.",
    "teacher.",
    "vit.",
    "model_state_dict.",
    "model_ema.",
    "state_dict_ema.",
    "state_dict.model.",
    "ema_model.module.",
    "what.ever.anybody.calls.it.",
];

/// In the layout of transformers with its folder, and as a bare file of timm's names.
#[test]
fn any_prefix_that_all_tensors_share_is_taken_off() {
    let (tmp, folder) = saved();
    let expected = answer(&folder);
    let path = folder.join("model.safetensors");
    let original = tmp.path().join("original.safetensors");
    std::fs::copy(&path, &original).unwrap();
    for prefix in PREFIXES {
        rename(&original, &path, |name| vec![(format!("{prefix}{name}"), 1.0)]);
        assert_eq!(answer(&folder), expected, "{prefix}");
    }
    std::fs::copy(&original, &path).unwrap();
    let timm = tmp.path().join("timm");
    Checkpoint::open(&folder).unwrap().convert(Target::Timm, &timm).unwrap();
    let bare = tmp.path().join("bare.safetensors");
    rename(&timm.join("model.safetensors"), &bare, |name| vec![(name.to_owned(), 1.0)]);
    let expected = answer(&bare);
    for prefix in PREFIXES {
        rename(&timm.join("model.safetensors"), &bare, |name| vec![(format!("{prefix}{name}"), 1.0)]);
        assert_eq!(answer(&bare), expected, "{prefix}");
    }
}

/// Compilation, sharding and checkpointing wrap parts of a model.
#[test]
fn wrappers_in_the_middle_of_names_are_taken_off() {
    let (_tmp, folder) = saved();
    let (path, expected) = (folder.join("model.safetensors"), answer(&folder));
    for (part, wrapped) in [
        ("layer.0.", "layer.0._orig_mod."),
        ("beit.encoder.", "_fsdp_wrapped_module.beit._fsdp_wrapped_module.encoder."),
        ("attention.attention.", "attention._checkpoint_wrapped_module.attention."),
    ] {
        rename(&path, &path, |name| vec![(name.replace(part, wrapped), 1.0)]);
        assert_eq!(answer(&folder), expected, "{wrapped}");
    }
}

/// The average has other numbers: each parameter half as large.
#[test]
fn an_average_is_taken_as_timm_does_unless_the_other_is_asked_for() {
    let (tmp, folder) = saved();
    let timm = tmp.path().join("timm");
    Checkpoint::open(&folder).unwrap().convert(Target::Timm, &timm).unwrap();
    let (from, bare) = (timm.join("model.safetensors"), tmp.path().join("bare.safetensors"));
    let alone = |factor: f32| {
        rename(&from, &bare, |name| vec![(name.to_owned(), factor)]);
        answer(&bare)
    };
    let [whole, half] = [1.0, 0.5].map(alone);
    assert_ne!(whole, half);
    for [raw, average] in [
        ["state_dict.", "state_dict_ema."],
        ["model.", "model_ema."],
        ["model.", "model_ema.module."],
        ["student.", "teacher."],
        ["net.", "net_ema."],
    ] {
        rename(&from, &bare, |name| vec![(format!("{raw}{name}"), 1.0), (format!("{average}{name}"), 0.5)]);
        let asked = |parameters| answer_with(&bare, OpenOptions { parameters, ..OpenOptions::default() });
        assert_eq!(asked(None), half, "{average}");
        assert_eq!(asked(Some(Parameters::Average)), half, "{average}");
        assert_eq!(asked(Some(Parameters::Raw)), whole, "{raw}");
        let notes = Checkpoint::open(&bare).unwrap().notes().join("\n");
        assert!(notes.contains(&format!("took the average (EMA) at `{average}`")), "{notes}");
    }
}

#[test]
fn names_that_only_look_like_it_are_refused() {
    let (tmp, folder) = saved();
    let bare = tmp.path().join("bare.safetensors");
    rename(&folder.join("model.safetensors"), &bare, |name| {
        vec![(format!("x{}", name.replace('.', "_")), 1.0)]
    });
    assert!(refusal(&bare).contains("expected the names of a BEiT model"), "{}", refusal(&bare));
}
