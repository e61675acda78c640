//! Names and addresses.

use beit_weights::catalogue::{Family, Kind, Task};
use beit_weights::{Entry, catalogue};
use std::collections::HashSet;

#[test]
fn every_name_finds_its_entry() {
    for entry in catalogue() {
        for name in entry.names() {
            assert_eq!(Entry::find(name), Some(entry), "{name}");
            assert_eq!(Entry::find(&name.to_uppercase()), Some(entry), "{name}");
        }
    }
    let names: Vec<&str> = catalogue().iter().flat_map(|entry| entry.names()).collect();
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "two entries share a name");
}

#[test]
fn the_ways_to_write_a_name() {
    let ways = [
        ("beit_base_patch16_224_pt22k_ft22k", "microsoft/beit-base-patch16-224-pt22k-ft22k@refs/pr/2"),
        ("beit_base_patch16_224_pt22k", "beit_base_patch16_224_pt22k.pth"),
        ("beitv2_large_patch16_224_pt1k_ft21k", "timm/beitv2_large_patch16_224.in1k_ft_in22k"),
        ("beitv2_large_patch16_224_pt1k_ft21k", "beitv2_large_patch16_224.in1k_ft_in22k@main"),
        ("dit-large", "microsoft/dit-large"),
        ("dit-base-finetuned-rvlcdip", "rvlcdip_dit-b.pth"),
        ("data2vec-vision-base-ft1k", "Facebook/data2vec-vision-base-ft1k@main"),
        ("eva_giant_patch14_224.clip_ft_in1k", "eva_clip_vis_enc_sz224_ftcls_89p1"),
        ("beit3_large_patch16_224.indomain_pt", "timm/beit3_large_patch16_224.indomain_pt"),
        ("dalle_encoder", "encoder.pkl"),
        ("dalle_encoder", "facebook/flava-image-codebook"),
        ("dalle_encoder", "dalle_encoder.pth"),
    ];
    for (expected, name) in ways {
        assert_eq!(Entry::find(name).map(|entry| entry.name.as_str()), Some(expected), "{name}");
    }
    for name in ["", "beit", "microsoft/beit-huge", "timm/", "beit3_base_patch16_224", "dit"] {
        assert_eq!(Entry::find(name), None, "{name}");
    }
}

#[test]
fn how_many_there_are() {
    let count = |task| catalogue().iter().filter(|entry| entry.task == task).count();
    let tasks = [Task::Mim, Task::Classify, Task::Encoder, Task::Segment, Task::Tokenizer];
    assert_eq!(tasks.map(count), [5, 27, 6, 2, 2]);
    let count = |family| catalogue().iter().filter(|entry| entry.family == family).count();
    let kin = [Family::Dit, Family::Data2VecVision, Family::Eva, Family::Beit3];
    assert_eq!(kin.map(count), [4, 4, 4, 8]);
    let hubs = |kind| catalogue().iter().flat_map(|entry| &entry.hub).filter(|hub| hub.kind == kind).count();
    // Eleven of BEiT's authors, the tokenizer, four and four; seven and six of timm, four and eight.
    assert_eq!([Kind::Transformers, Kind::Timm].map(hubs), [20, 25]);
}

#[test]
fn files_are_named_like_their_entries() {
    for entry in catalogue() {
        let name = &entry.name;
        let release = match entry.family {
            Family::Beit => "v1.0",
            Family::BeitV2 => "BEiT-v2",
            Family::Dalle => continue,
            _ => {
                assert!(entry.hub[0].id.ends_with(&format!("/{name}")), "{name}");
                continue;
            }
        };
        let url = format!("https://github.com/addf400/files/releases/download/{release}/{name}.pth");
        assert_eq!(entry.url, Some(url));
    }
}

#[test]
fn a_branch_is_named_only_where_the_main_one_lacks_the_file() {
    for hub in catalogue().iter().flat_map(|entry| &entry.hub) {
        let weights = hub.weights.as_deref();
        assert!(hub.revision.is_none() || weights == Some("pytorch_model.bin"), "{}", hub.id);
        let known = ["model.safetensors", "pytorch_model.bin"];
        assert!(weights.is_none_or(|weights| known.contains(&weights)), "{}", hub.id);
    }
}
