//! The same work in another program: a process that answers questions, a line of JSON each.

use crate::measure::Stopwatch;
use anyhow::{Context, bail};
use beit::{Device, Watch};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Another program that does the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum PeerKind {
    /// The same model in PyTorch, compiled if that works.
    Torch,
    /// The same model in ONNX Runtime: inference in f32.
    Onnxruntime,
}

/// The programs, kept in this one so that they are there wherever this runs.
const MODELS: &str = include_str!("../peers/bench_models.py");
/// The module that it imports is made first, since there may be no folder that has it.
const SEGMENTERS: &str = concat!(
    "import sys, types\nmodule = types.ModuleType('setr_pup')\nexec(r'''",
    include_str!("../peers/setr_pup.py"),
    "''', vars(module))\nsys.modules['setr_pup'] = module\n",
    include_str!("../peers/bench_segmentation.py"),
);

/// A program in Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// Products, steps of models, and what feeds them: one process for all.
    Models,
    /// Segmenters: a process for each row, since the most memory that a process held never falls.
    Segmenters,
}

impl Program {
    fn script(self) -> &'static str {
        match self {
            Self::Models => MODELS,
            Self::Segmenters => SEGMENTERS,
        }
    }

    /// Whether the peer has it for this device.
    pub(super) fn is_of(self, peer: PeerKind, device: &Device) -> bool {
        let plain = device.flag() == "cpu" && device.precision() == "f32";
        self == Self::Models || peer == PeerKind::Torch && plain
    }
}

/// What it measured.
pub(super) struct Answer {
    /// Of one call.
    pub(super) seconds: f64,
    /// The most bytes that it held since it began, where it tells.
    pub(super) peak_bytes: Option<u64>,
}

/// A program in Python, waiting for questions.
pub(super) struct Peer {
    kind: PeerKind,
    program: Program,
    /// As `--peer` takes it.
    name: &'static str,
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts it on the same device in the same precision.
    pub(super) fn start(
        kind: PeerKind,
        program: Program,
        python: &str,
        device: &Device,
        watch: &Watch,
    ) -> anyhow::Result<Self> {
        let name = match kind {
            PeerKind::Torch => "torch",
            PeerKind::Onnxruntime => "onnxruntime",
        };
        let on = if device.flag().starts_with("cuda") { device.flag() } else { "cpu" };
        let mut process = Command::new(python)
            .args(["-c", program.script(), on, device.precision(), name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("--peer {name}: cannot run {python}; name another with --python"))?;
        let questions = process.stdin.take();
        let answers = process.stdout.take().with_context(|| format!("--peer {name}: no answers"))?;
        let mut peer = Self { kind, program, name, process, questions, answers: BufReader::new(answers) };
        let hello = peer.answer()?;
        watch.note(&format!("peer: {}", hello["hello"].as_str().unwrap_or("torch")));
        Ok(peer)
    }

    /// Whether it can answer.
    pub(super) fn knows(&self, program: Program, question: &Value) -> bool {
        self.program == program && (self.kind == PeerKind::Torch || question["row"] == "inference")
    }

    /// What a call takes.
    pub(super) fn ask(&mut self, question: &Value, stopwatch: &Stopwatch) -> anyhow::Result<Answer> {
        let mut question = question.clone();
        question["runs"] = json!(stopwatch.runs);
        question["seconds"] = json!(stopwatch.seconds);
        let name = self.name;
        let pipe = self.questions.as_mut().with_context(|| format!("--peer {name}: not listening"))?;
        let asked = writeln!(pipe, "{question}").and_then(|()| pipe.flush());
        asked.with_context(|| format!("--peer {name}: it has ended"))?;
        let answer = self.answer()?;
        let seconds = answer["time"].as_f64();
        let seconds = seconds.with_context(|| format!("--peer {name}: no time in {answer}"))?;
        Ok(Answer { seconds, peak_bytes: answer["peak"].as_u64() })
    }

    fn answer(&mut self) -> anyhow::Result<Value> {
        let (name, mut line) = (self.name, String::new());
        self.answers
            .read_line(&mut line)
            .with_context(|| format!("--peer {name}: cannot read its answer"))?;
        if line.is_empty() {
            bail!("--peer {name}: it ended without an answer");
        }
        let answer: Value =
            serde_json::from_str(&line).with_context(|| format!("--peer {name} answered {}", line.trim()))?;
        match answer["error"].as_str() {
            Some(error) => bail!("--peer {name}: {error}"),
            None => Ok(answer),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends when nobody asks any more.
        drop(self.questions.take());
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_module_that_can_be_quoted() {
        assert!(!include_str!("../peers/setr_pup.py").contains("'''"));
    }
}
