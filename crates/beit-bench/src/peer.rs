//! The same work in another program: a process that answers questions, a line of JSON each.

use crate::measure::Stopwatch;
use anyhow::{Context, bail};
use beit::{Device, Watch};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The program, kept in this one so that it is there wherever this runs.
const SCRIPT: &str = include_str!("../peers/bench_models.py");

/// Another program that does the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum PeerKind {
    /// The same model in PyTorch, compiled if that works.
    Torch,
    /// The same model in ONNX Runtime: inference in f32.
    Onnxruntime,
}

/// A program in Python, waiting for questions.
pub(super) struct Peer {
    /// As `--peer` takes it.
    name: &'static str,
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts it on the same device in the same precision.
    pub(super) fn start(
        peer: PeerKind,
        python: &str,
        device: &Device,
        watch: &Watch,
    ) -> anyhow::Result<Self> {
        let name = match peer {
            PeerKind::Torch => "torch",
            PeerKind::Onnxruntime => "onnxruntime",
        };
        let on = if device.flag().starts_with("cuda") { device.flag() } else { "cpu" };
        let mut process = Command::new(python)
            .args(["-c", SCRIPT, on, device.precision(), name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("--peer {name}: cannot run {python}; name another with --python"))?;
        let questions = process.stdin.take();
        let answers = process.stdout.take().with_context(|| format!("--peer {name}: no answers"))?;
        let mut peer = Self { name, process, questions, answers: BufReader::new(answers) };
        let hello = peer.answer()?;
        watch.note(&format!("peer: {}", hello["hello"].as_str().unwrap_or("torch")));
        Ok(peer)
    }

    /// Seconds of one call.
    pub(super) fn ask(&mut self, question: &Value, stopwatch: &Stopwatch) -> anyhow::Result<f64> {
        let mut question = question.clone();
        question["runs"] = json!(stopwatch.runs);
        question["seconds"] = json!(stopwatch.seconds);
        let name = self.name;
        let pipe = self.questions.as_mut().with_context(|| format!("--peer {name}: not listening"))?;
        let asked = writeln!(pipe, "{question}").and_then(|()| pipe.flush());
        asked.with_context(|| format!("--peer {name}: it has ended"))?;
        let answer = self.answer()?;
        answer["time"].as_f64().with_context(|| format!("--peer {name}: no time in {answer}"))
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
