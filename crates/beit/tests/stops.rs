//! Fine-tuning that is stopped outside its steps: while masks are looked at, and while what was learnt is judged.

use beit::{
    DataSettings, Device, Error, FinetuneSettings, FinetuneTask, Finetuning, Judged, ModelSettings, Progress,
    Resume, RunSettings, Size, Task, Watch,
};
use image::{GrayImage, Luma};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Stops at the first image after so many passes over images have begun.
struct Stopping {
    at: u64,
    begun: AtomicU64,
    looked_at: AtomicU64,
}

impl Progress for Stopping {
    fn begin(&self, task: &Task<'_>) {
        if matches!(task, Task::Images { .. }) {
            self.begun.fetch_add(1, Ordering::SeqCst);
        }
    }
    fn done(&self, _: u64) {
        if self.stops() {
            self.looked_at.fetch_add(1, Ordering::SeqCst);
        }
    }
    fn stops(&self) -> bool {
        self.begun.load(Ordering::SeqCst) >= self.at
    }
}

fn stopping(at: u64) -> Arc<Stopping> {
    Arc::new(Stopping { at, begun: AtomicU64::new(0), looked_at: AtomicU64::new(0) })
}

/// Passes a watcher on that the test keeps.
struct Shared(Arc<Stopping>);

impl Progress for Shared {
    fn begin(&self, task: &Task<'_>) {
        self.0.begin(task);
    }
    fn done(&self, amount: u64) {
        self.0.done(amount);
    }
    fn stops(&self) -> bool {
        self.0.stops()
    }
}

const IMAGES: u8 = 6;

/// Pictures of which one half is bright, as images of two classes and as images with masks.
fn write_images(dir: &Path) {
    for (split, number) in
        ["train", "test"].into_iter().flat_map(|split| (0..IMAGES).map(move |i| (split, i)))
    {
        let write = |folder: String, image: &GrayImage| {
            std::fs::create_dir_all(dir.join(&folder)).unwrap();
            image.save(dir.join(folder).join(format!("{number}.png"))).unwrap();
        };
        let half = |x: u32, y: u32| if number % 2 == 0 { x < 8 } else { y < 8 };
        let image = GrayImage::from_fn(16, 16, |x, y| Luma([if half(x, y) { 200 + number } else { 20 }]));
        let mask = GrayImage::from_fn(16, 16, |x, y| Luma([u8::from(half(x, y))]));
        write(format!("images/{split}"), &image);
        write(format!("masks/{split}"), &mask);
        write(format!("classes/{split}/{}", if number % 2 == 0 { "left" } else { "top" }), &image);
    }
    std::fs::write(dir.join("names.txt"), "dark\nbright\n").unwrap();
}

fn settings(dir: &Path, task: FinetuneTask, out: &str) -> FinetuneSettings {
    let at = |name: &str| dir.join(name).display().to_string();
    let data = match task {
        FinetuneTask::Classify => format!("folder:{}", at("classes")),
        FinetuneTask::Segment => format!("masks:{},{},{}", at("images"), at("masks"), at("names.txt")),
    };
    let mut settings = FinetuneSettings {
        from_scratch: true,
        task,
        data: DataSettings { data, ..DataSettings::default() },
        model: ModelSettings {
            preset: Size::Tiny,
            image_size: "16".parse().ok(),
            ..ModelSettings::default()
        },
        run: RunSettings::default(),
        ..FinetuneSettings::default()
    };
    settings.training.steps = Some(1);
    settings.training.batches = 4.into();
    settings.run.folder.out = Some(dir.join(out));
    settings
}

fn run(settings: FinetuneSettings, watch: &Watch) -> beit::Result<beit::Finetuned> {
    Finetuning::new(settings, watch)?.run(&Device::cpu())
}

fn stopped(result: beit::Result<beit::Finetuned>) -> String {
    match result {
        Err(error @ Error::Stopped(_)) => error.to_string(),
        other => panic!("expected that it stops, found {other:?}"),
    }
}

#[test]
fn masks_are_not_looked_at_to_the_end() {
    let dir = tempfile::tempdir().unwrap();
    write_images(dir.path());
    let stopping = stopping(1);
    let settings = settings(dir.path(), FinetuneTask::Segment, "run");
    let said = stopped(run(settings, &Watch::new(Shared(Arc::clone(&stopping)))));
    assert!(said.contains("nothing was changed"), "{said}");
    assert_eq!(stopping.looked_at.load(Ordering::SeqCst), 1);
    assert!(!dir.path().join("run").exists());
}

/// The steps are saved, and the run is judged when it goes on.
#[test]
fn judging_stops_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    write_images(dir.path());
    // Of segmentation the masks to train on and those to judge by are looked at before.
    for (task, passes) in [(FinetuneTask::Classify, 1), (FinetuneTask::Segment, 3)] {
        let settings = settings(dir.path(), task, &format!("{task:?}"));
        let stopping = stopping(passes);
        let said = stopped(run(settings.clone(), &Watch::new(Shared(Arc::clone(&stopping)))));
        assert!(said.contains("step-0000001; --resume --out"), "{said}");
        assert_eq!(stopping.looked_at.load(Ordering::SeqCst), 1, "batches or pictures of {task:?}");
        let mut again = settings;
        again.run.resume = Resume::Always;
        match run(again, &Watch::silent()).unwrap().judged {
            Judged::Classes { accuracy, .. } => assert_eq!(accuracy.images, usize::from(IMAGES)),
            Judged::Pixels { accuracy, .. } => assert_eq!(accuracy.images, usize::from(IMAGES)),
        }
    }
}
