//! Runs on shards: the bits of a folder, and what happens to shards that are cut, go, or change.

use crate::common::{Place, SHORT};
use std::fs::{self, File};

/// Two shards of the training pictures of `photos`, in the order in which the folder has them, and one of its test pictures.
fn shards(place: &Place) {
    for split in ["train", "test"] {
        let all: Vec<_> = place.contents(&format!("photos/{split}")).into_iter().collect();
        for (number, part) in all.chunks(24).enumerate() {
            let path = place.path(&format!("shards/photos-{split}-{number:06}.tar"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut archive = tar::Builder::new(File::create(path).unwrap());
            for (name, bytes) in part {
                let mut header = tar::Header::new_ustar();
                header.set_size(bytes.len() as u64);
                archive.append_data(&mut header, name, bytes.as_slice()).unwrap();
            }
            archive.finish().unwrap();
        }
    }
}

fn short(data: &str) -> String {
    SHORT.replace("folder:photos", data)
}

#[test]
fn a_run_on_shards_has_the_bits_of_one_on_a_folder() {
    let place = Place::with_photos();
    shards(&place);
    place.good(&format!("pretrain {SHORT} --out folder"));
    let tar = place.good(&format!("pretrain {} --no-index --out tar", short("tar:shards")));
    assert!(tar.stderr.contains("by their names and folders 2 training shards and 1 test shards"), "{tar}");
    assert_eq!(place.names("shards").len(), 3, "--no-index leaves no index");
    let model = |run: &str| {
        place.contents(&format!("{run}/last/")).remove(std::path::Path::new("model.safetensors")).unwrap()
    };
    assert!(model("folder") == model("tar"), "the numbers differ");

    let range = short("tar:shards/photos-train-{000000..000001}.tar;shards/photos-test-000000.tar");
    place.good(&format!("pretrain {range} --out range"));
    assert_eq!(place.names("shards").len(), 6, "each shard has an index");
    assert!(model("folder") == model("range"), "the numbers differ");
    let tuned =
        "finetune --init tar --data tar:shards --labels 24 --steps 2 --batch-size 8 --json --out tuned";
    assert_eq!(place.good(tuned).answer()["images"].as_u64(), Some(24));
    let judged = |data: &str| place.good(&format!("evaluate --model tuned --data {data} --json")).answer();
    let (shards, folder) = (judged("tar:shards"), judged("folder:photos"));
    for measure in ["images", "loss", "top1", "left_out"] {
        assert_eq!(shards[measure], folder[measure], "{measure}");
    }
}

#[test]
fn bad_shards_are_named() {
    let place = Place::with_photos();
    shards(&place);
    let pretrain = |data: &str, rest: &str| format!("pretrain {} --out run {rest}", short(data));
    place.bad(1, &pretrain("tar:nowhere.tar", ""), &["cannot read nowhere.tar"]);
    place.bad(1, &pretrain("tar:", ""), &["names no shard", "@FILE"]);
    place.bad(1, &pretrain("tar:photos", ""), &["no shards in photos", ".tar"]);
    place.write("a.tar.gz", [0x1f, 0x8b, 8, 0, 0, 0]);
    place.bad(1, &pretrain("tar:a.tar.gz", ""), &["a.tar.gz", "compressed by gzip", "gunzip a.tar.gz"]);
    place.write("text.tar", vec![b'a'; 2000]);
    place.bad(1, &pretrain("tar:text.tar", ""), &["text.tar", "expected a tar archive"]);
    assert!(!place.path("run").exists());
    let into = SHORT.replace("folder:photos", "tar:shards");
    place.bad(2, &format!("pretrain {into} --overwrite --out shards"), &["shards is not replaced"]);

    // A shard that is cut loses its last samples, which is said.
    let path = place.path("shards/photos-train-000001.tar");
    let whole = fs::read(&path).unwrap();
    place.write("shards/photos-train-000001.tar", &whole[..whole.len() / 2]);
    let cut = place.good(&pretrain("tar:shards", ""));
    assert!(
        cut.stderr.contains("photos-train-000001.tar: ")
            && cut.stderr.contains("samples before that are read"),
        "{cut}"
    );
    // Other images are another run.
    fs::write(&path, whole).unwrap();
    let other = place.run("pretrain --resume --out run");
    assert!(other.code == Some(1) || other.code == Some(2), "{other}");
    assert!(other.stderr.contains("is of another run: the data was"), "{other}");
    // A picture that is damaged in its shard is left out and counted.
    let mut damaged = fs::read(&path).unwrap();
    damaged[512..600].fill(0);
    fs::write(&path, damaged).unwrap();
    place.bad(
        1,
        &pretrain("tar:shards", "--overwrite"),
        &["files cannot be decoded", "photos-train-000001.tar: "],
    );
    let left = place.good(&pretrain("tar:shards", "--overwrite --max-bad-share 0.1"));
    assert!(left.stderr.contains("left out: cannot decode shards/photos-train-000001.tar: "), "{left}");
}
