//! A folder of its own for each test, in which command lines run, and small data for them.

pub(crate) mod masks;
pub(crate) mod random;
#[cfg(unix)]
pub(crate) mod ranks;

use beit_train::{Measured, read_metrics};
use image::{Rgb, RgbImage};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Side of the pictures, the tiny preset's.
pub(crate) const SIDE: u32 = 28;
/// How many threads compute where `--threads` is not given.
pub(crate) const THREADS: &str = "RAYON_NUM_THREADS";
/// What makes a run of pre-training short.
pub(crate) const SHORT: &str = "--data folder:photos --image-size 16 --tokenizer-kind dvae --accept-tokenizer --tokenizer-steps 2 --steps 2 --batch-size 8";

/// The same of pictures as they are.
pub(crate) fn short_of_whole_pictures() -> String {
    SHORT.replace("--image-size 16 ", "")
}

/// A folder that is gone after the test; paths in command lines are relative to it.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With `photos`: three classes of 16 pictures to train, 8 to test.
    pub(crate) fn with_photos() -> Self {
        let place = Self::new();
        place.photos("photos", 3);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// A set in folders, each class a pattern in many shades.
    pub(crate) fn photos(&self, name: &str, classes: u32) {
        for (split, count) in [("train", 16), ("test", 8)] {
            for class in 0..classes {
                for number in 0..count {
                    let path = self.path(&format!("{name}/{split}/class-{class}/{number:02}.png"));
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    picture(class, number).save(path).unwrap();
                }
            }
        }
    }

    /// Cuts a JPEG short and puts it there.
    pub(crate) fn broken_jpeg(&self, name: &str) {
        let whole = self.path("whole.jpg");
        picture(0, 0).save(&whole).unwrap();
        let bytes = fs::read(&whole).unwrap();
        fs::remove_file(whole).unwrap();
        self.write(name, &bytes[..bytes.len() / 2]);
    }

    /// A copy of a folder, links and all.
    pub(crate) fn copy(&self, from: &str, to: &str) {
        let status = Command::new("cp").arg("-R").args([self.path(from), self.path(to)]).status();
        assert!(status.unwrap().success());
    }

    /// What a run measured, every line of it whole.
    pub(crate) fn metrics(&self, run: &str) -> Vec<Value> {
        let Measured { records, broken } = measured(&self.path(run)).unwrap();
        assert!(broken.is_empty(), "broken lines of {run}: {broken:?}");
        records
    }

    /// Phase, step and loss of what a run measured: nothing that depends on the clock.
    pub(crate) fn losses(&self, run: &str) -> Vec<[Value; 3]> {
        let of = |record: &Value| ["phase", "step", "loss"].map(|key| record[key].clone());
        self.metrics(run).iter().map(of).collect()
    }

    /// Every file and link below a folder, by its path in that folder, with what is in it.
    pub(crate) fn contents(&self, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let (top, mut all) = (self.path(name), BTreeMap::new());
        collect(&top, &top, &mut all);
        all
    }

    /// The names in a folder, sorted; none where there is no such folder.
    pub(crate) fn names(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(name)).into_iter().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Asserts that a folder holds nothing that is half written.
    pub(crate) fn nothing_half_written(&self, name: &str) {
        for path in self.contents(name).into_keys() {
            assert!(
                !path.iter().any(|part| part.as_encoded_bytes().starts_with(b".")),
                "left behind: {}",
                path.display()
            );
        }
    }

    /// `xtask` with arguments that are separated by spaces.
    pub(crate) fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        // Tests run beside one another, and threads that look for work take the time of those that have some.
        command.env(THREADS, "1");
        command.current_dir(self.0.path()).args(args.split_whitespace()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &str) -> Outcome {
        Outcome::of(args, self.command(args).output().unwrap())
    }

    /// Runs what must succeed.
    pub(crate) fn good(&self, args: &str) -> Outcome {
        let outcome = self.run(args);
        assert_eq!(outcome.code, Some(0), "{outcome}");
        outcome
    }

    /// Runs what must fail with this code and one line that says all of this.
    pub(crate) fn bad(&self, code: i32, args: &str, says: &[&str]) {
        self.run(args).fails(code, says);
    }
}

/// What the folder of a run has of its metrics, also while it goes on.
pub(crate) fn measured(run: &Path) -> beit_train::Result<Measured> {
    read_metrics(&run.join("metrics.jsonl"))
}

fn collect(top: &Path, path: &Path, all: &mut BTreeMap<PathBuf, Vec<u8>>) {
    let Ok(kind) = fs::symlink_metadata(path) else { return };
    if kind.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| collect(top, &entry.unwrap().path(), all));
        return;
    }
    let bytes = if kind.is_symlink() {
        fs::read_link(path).unwrap().into_os_string().into_encoded_bytes()
    } else {
        fs::read(path).unwrap()
    };
    all.insert(path.strip_prefix(top).unwrap().to_owned(), bytes);
}

fn picture(class: u32, number: u32) -> RgbImage {
    RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let wave = match class {
            0 => x + number,
            1 => y + number,
            _ => x * y / 4 + number,
        };
        Rgb([(wave * 16 % 256) as u8, (number * 13 % 256) as u8, (wave * (class + 3) % 256) as u8])
    })
}

/// How a command line ended.
pub(crate) struct Outcome {
    args: String,
    /// Nothing where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { args, code, stdout, stderr } = self;
        write!(f, "xtask {args}\nexit code {code:?}\nstdout:\n{stdout}\nstderr:\n{stderr}")
    }
}

impl Outcome {
    pub(crate) fn of(args: &str, output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let outcome = Self {
            args: args.to_owned(),
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        };
        assert!(!outcome.stderr.contains("panicked"), "{outcome}");
        outcome
    }

    /// Asserts the code, and that the last line on stderr is the only error and says all of this.
    pub(crate) fn fails(&self, code: i32, says: &[&str]) {
        assert_eq!(self.code, Some(code), "{self}");
        let errors = self.stderr.lines().filter(|line| line.starts_with("error: ")).count();
        let last = self.stderr.lines().last().unwrap_or_default();
        assert!(errors == 1 && last.starts_with("error: "), "expected one error, the last line\n{self}");
        says.iter().for_each(|part| assert!(last.contains(part), "expected `{part}`\n{self}"));
        assert_eq!(self.stdout, "", "an answer in spite of the error\n{self}");
    }

    /// Asserts that the parser of flags refused, in its own words.
    pub(crate) fn is_refused(&self, says: &[&str]) {
        assert_eq!(self.code, Some(2), "{self}");
        assert!(self.stderr.starts_with("error: "), "{self}");
        says.iter().for_each(|part| assert!(self.stderr.contains(part), "expected `{part}`\n{self}"));
    }

    /// Asserts that stdout is JSON objects, one a line, and returns them.
    pub(crate) fn json(&self) -> Vec<Value> {
        let parsed = |line: &str| match serde_json::from_str(line) {
            Ok(Value::Object(object)) => Value::Object(object),
            other => panic!("expected an object, found {other:?}\n{self}"),
        };
        let lines: Vec<_> = self.stdout.lines().map(parsed).collect();
        assert!(!lines.is_empty(), "{self}");
        lines
    }

    /// The last of [`json`](Self::json): the answer.
    pub(crate) fn answer(&self) -> Value {
        self.json().pop().unwrap()
    }
}

/// A tensor for a file: name, type, extents, bytes.
pub(crate) type Named<'a> = (&'a str, Dtype, Vec<usize>, Vec<u8>);

/// Numbers between -1 and 1.
pub(crate) fn floats<'a>(name: &'a str, shape: &[usize]) -> Named<'a> {
    let values = (0..shape.iter().product()).map(|i: usize| (i * 37 % 101) as f32 / 50.0 - 1.0);
    (name, Dtype::F32, shape.to_vec(), values.flat_map(f32::to_le_bytes).collect())
}

pub(crate) fn integers<'a>(name: &'a str, shape: &[usize], values: &[i64]) -> Named<'a> {
    (name, Dtype::I64, shape.to_vec(), values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// A mask in which every third patch is hidden.
pub(crate) fn mask(shape: &[usize]) -> Named<'static> {
    let values = (0..shape.iter().product()).map(|i: usize| u8::from(i.is_multiple_of(3)));
    ("bool_masked_pos", Dtype::BOOL, shape.to_vec(), values.collect())
}

pub(crate) fn write_tensors(path: &Path, tensors: &[Named<'_>]) {
    fn view<'a>((name, dtype, shape, bytes): &'a Named<'_>) -> (&'a str, TensorView<'a>) {
        (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    }
    safetensors::serialize_to_file(tensors.iter().map(view), None, path).unwrap();
}

/// A copy of a file of tensors without what its header says beside them: the names of classes, say.
pub(crate) fn without_metadata(from: &Path, to: &Path) {
    let bytes = fs::read(from).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    safetensors::serialize_to_file(file.tensors(), None, to).unwrap();
}

/// The extents and the bytes of a tensor.
pub(crate) fn read_tensor(path: &Path, name: &str) -> (Vec<usize>, Vec<u8>) {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor(name).unwrap();
    (tensor.shape().to_vec(), tensor.data().to_vec())
}

/// The extents of a tensor of numbers, all of which are finite.
pub(crate) fn finite(path: &Path, name: &str) -> Vec<usize> {
    let (shape, bytes) = read_tensor(path, name);
    let all = bytes.as_chunks().0.iter().all(|&value| f32::from_le_bytes(value).is_finite());
    assert!(all, "{name} in {} is not finite", path.display());
    shape
}

pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}
