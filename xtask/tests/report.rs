//! What shows a run while it goes on and afterwards: event files and the page. Neither can end it.

use crate::common::{Place, SHORT};
use std::fs;

const FINETUNE: &str = "finetune --from-scratch --preset tiny --image-size 16 --data folder:photos --batch-size 8 --steps 4 --save-every 2 \
                        --report-every 1 --out";

/// The last checkpoint is taken away, so that there is something to go on with.
fn cut_short(place: &Place, run: &str) {
    fs::remove_dir_all(place.path(run).join("checkpoints/step-0000004")).unwrap();
}

#[test]
fn a_run_can_be_followed() {
    let place = Place::with_photos();
    place.good(&format!("pretrain {SHORT} --report-every 1 --out run"));
    let phases = ["evaluate_tokens", "pretrain", "tokenizer", "tokenizer_quality"];
    assert_eq!(place.names("run/tensorboard"), phases);
    let page = fs::read_to_string(place.path("run/report.html")).unwrap();
    let says = [
        "Run run</h1>",
        "Pre-training",
        "Use of the codebook",
        "reconstruction of the run",
        "training.seed",
        "of memory",
    ];
    says.iter().for_each(|part| assert!(page.contains(part), "expected `{part}` in the page"));
    assert!(!page.contains("not whole"));
    let drawn = ["masks.png", "reconstruction.png", "step-0000000.png", "step-0000002.png"];
    assert_eq!(place.names("run/pictures"), drawn);
    let on_the_way = ["While it learnt", "after 0 steps", "after 2 steps"];
    on_the_way.iter().for_each(|part| assert!(page.contains(part), "expected `{part}` in the page"));

    place.good(&format!("{FINETUNE} tuned"));
    cut_short(&place, "tuned");
    let files = || place.names("tuned/tensorboard/finetune").len();
    assert_eq!(files(), 1);
    place.good("finetune --resume --out tuned");
    assert_eq!(files(), 2, "a process that goes on has a file of its own");
    place.good(&format!("{FINETUNE} plain --no-tensorboard"));
    assert!(!place.path("plain/tensorboard").exists());

    // Of one run into it, again and again; of several to where it is said, once.
    for _ in 0..2 {
        place.good("report tuned");
    }
    let answer = place.good("report tuned plain --json --out both.html").answer();
    assert_eq!(answer["out"], "both.html");
    let page = fs::read_to_string(place.path("both.html")).unwrap();
    assert!(page.contains("2 runs compared") && page.contains("run.no_tensorboard"), "{page}");
    place.bad(2, "report tuned plain --out both.html", &["both.html is there already", "--overwrite"]);
    place.good("report tuned plain --out both.html --overwrite");
    place.write("notes.html", "<p>mine</p>");
    place.bad(2, "report tuned --out notes.html --overwrite", &["notes.html is not what is written here"]);
    place.bad(1, "report tuned photos --out other.html", &["photos: no run", "run.toml"]);
    place.bad(1, "report nowhere", &["nowhere: no run"]);
    place.good(&format!("{FINETUNE} tuned --overwrite"));
    assert_eq!(files(), 1, "what is replaced goes as a whole");
}

/// A folder in the way stands for a disk that fails; what was drawn of later steps is drawn again.
#[test]
fn pictures_on_the_way_cannot_end_a_run() {
    let place = Place::with_photos();
    place.good(&format!("pretrain {SHORT} --out run"));
    let last = place.contents("run/last/");
    for part in ["checkpoints", "last", "pictures/step-0000000.png"] {
        let path = place.path("run").join(part);
        if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
            .unwrap();
    }
    fs::create_dir(place.path("run/pictures/step-0000000.png")).unwrap();
    place.write("run/pictures/step-0000002.png", "of the steps that come again");
    let outcome = place.good("pretrain --resume --out run");
    let said = outcome
        .stderr
        .matches("pictures on the way are not drawn, and the run goes on: cannot write")
        .count();
    assert_eq!(said, 1, "{outcome}");
    assert!(place.contents("run/last/") == last, "training is the same");
    assert!(fs::read(place.path("run/pictures/step-0000002.png")).unwrap().starts_with(b"\x89PNG"));
}

/// A file and a folder in the way stand for a disk that fails.
#[test]
fn a_run_that_cannot_be_shown_goes_on() {
    let place = Place::with_photos();
    place.good(&format!("{FINETUNE} whole"));
    place.copy("whole", "run");
    cut_short(&place, "run");
    fs::remove_dir_all(place.path("run/tensorboard")).unwrap();
    place.write("run/tensorboard", "in the way");
    fs::remove_file(place.path("run/report.html")).unwrap();
    fs::create_dir(place.path("run/report.html")).unwrap();
    let outcome = place.good("finetune --resume --out run");
    let said = |part: &str| outcome.stderr.matches(part).count();
    assert_eq!(said("the run goes on, with no more for TensorBoard"), 1, "{outcome}");
    assert_eq!(
        said("the page of the run is not drawn, and the run goes on: cannot write run/report.html"),
        1,
        "{outcome}"
    );
    assert!(place.contents("run/last/") == place.contents("whole/last/"));
    assert_eq!(place.losses("run"), place.losses("whole"));
}
