//! What a run and an evaluation go on from: `training/state.json`, `run.toml`, `metrics.jsonl`, and the counts of `progress.json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| readers::read("resume", bytes));
