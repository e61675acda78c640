//! Event files are read back by a reader that shares nothing with the writer: its own checksum, bit by bit, and its own walk through the
//! bytes of messages. What a restart takes out is taken out as TensorBoard does it.

use beit_train::{Accuracy, Events, Record, Sink, StepReport, is_event_file};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// CRC-32C by its polynomial, 0x1EDC6F41, reversed.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 },
        )
    })
}

fn unmasked(bytes: &[u8]) -> u32 {
    let value = u32::from_le_bytes(bytes.try_into().unwrap()).wrapping_sub(0xa282_ead8);
    value.rotate_left(15)
}

/// The records of a file, each of which is whole.
fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_at(8);
        assert_eq!(crc(length), unmasked(&rest[..4]));
        let (record, rest) = rest[4..].split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
        assert_eq!(crc(record), unmasked(&rest[..4]));
        all.push(record);
        bytes = &rest[4..];
    }
    all
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (&byte, rest) = bytes.split_first().unwrap();
        (*bytes, value) = (rest, value | u64::from(byte & 127) << shift);
        if byte < 128 {
            break;
        }
    }
    value
}

/// The fields of a message: number and bytes; of a number its eight bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => {
                all.push((key >> 3, varint(&mut bytes).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            2 => varint(&mut bytes) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = bytes.split_at(length);
        all.push((key >> 3, value.to_vec()));
        bytes = rest;
    }
    all
}

fn field(message: &[u8], number: u64) -> Option<Vec<u8>> {
    fields(message).into_iter().find_map(|(of, value)| (of == number).then_some(value))
}

/// What TensorBoard shows of a folder: by tag and step.
fn shown(folder: &Path) -> BTreeMap<(String, u64), Vec<f32>> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut shown: BTreeMap<(String, u64), Vec<f32>> = BTreeMap::new();
    for name in names {
        assert!(is_event_file(&name) && name.contains("tfevents"), "{name}");
        let bytes = fs::read(folder.join(name)).unwrap();
        for (index, event) in records(&bytes).into_iter().enumerate() {
            let time = f64::from_le_bytes(field(event, 1).unwrap().try_into().unwrap());
            assert!(time > 1.7e9, "{time}");
            assert_eq!(field(event, 3), (index == 0).then(|| b"brain.Event:2".to_vec()));
            let step = field(event, 2).map_or(0, |step| u64::from_le_bytes(step.try_into().unwrap()));
            if let Some(session) = field(event, 7) {
                assert_eq!(field(&session, 1).unwrap()[0], 1, "START");
                shown.retain(|(_, of), _| *of < step);
            }
            for (_, value) in field(event, 5).iter().flat_map(|summary| fields(summary)) {
                let tag = String::from_utf8(field(&value, 1).unwrap()).unwrap();
                let number = f32::from_le_bytes(field(&value, 2).unwrap().try_into().unwrap());
                shown.entry((tag, step)).or_default().push(number);
            }
        }
    }
    shown
}

fn report(events: &mut Events, step: u64, loss: f64) {
    let report =
        StepReport { phase: "finetune", step, loss, accuracy: Some(0.25), lr: 1e-3, ..StepReport::default() };
    events.record(&Record::Step(&report)).unwrap();
}

fn judge(events: &mut Events, top1: f64) {
    let accuracy = Accuracy { images: 4, top1, top5: 1.0, loss: 0.5 };
    events.record(&Record::Classes { split: "test", accuracy: &accuracy }).unwrap();
}

fn measure(events: &mut Events, step: u64, value: f64) {
    let of = "finetune";
    events
        .record(&Record::Checkpoint { of, step, split: "validation", metric: "accuracy", value, best: 2 })
        .unwrap();
}

fn curve(folder: &Path, tag: &str) -> Vec<(u64, Vec<f32>)> {
    shown(folder)
        .into_iter()
        .filter(|((of, _), _)| of == tag)
        .map(|((_, step), values)| (step, values))
        .collect()
}

#[test]
fn a_run_that_goes_on_has_each_step_once() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let mut events = Events::resume(dir, "finetune", 0);
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0, "nothing before there is something to write");
    for step in [2, 4, 6] {
        report(&mut events, step, step as f64);
        measure(&mut events, step, 0.5);
    }
    judge(&mut events, 0.5);
    assert_eq!(curve(&dir.join("finetune"), "loss"), [(2, vec![2.0]), (4, vec![4.0]), (6, vec![6.0])]);
    assert_eq!(curve(&dir.join("finetune"), "data_wait").len(), 3, "zero is a number");
    assert_eq!(curve(&dir.join("evaluate"), "top1"), [(6, vec![0.5])]);

    // Killed, and gone on with from step 4, twice.
    for top1 in [0.75, 1.0] {
        let mut events = Events::resume(dir, "finetune", 4);
        report(&mut events, 6, 60.0);
        measure(&mut events, 6, 0.625);
        report(&mut events, 8, 80.0);
        judge(&mut events, top1);
        let loss = [(2, vec![2.0]), (4, vec![4.0]), (6, vec![60.0]), (8, vec![80.0])];
        assert_eq!(curve(&dir.join("finetune"), "loss"), loss);
        assert_eq!(
            curve(&dir.join("checkpoint"), "accuracy"),
            [(2, vec![0.5]), (4, vec![0.5]), (6, vec![0.625])]
        );
        assert_eq!(curve(&dir.join("evaluate"), "top1"), [(8, vec![top1 as f32])]);
    }
    assert_eq!(fs::read_dir(dir.join("finetune")).unwrap().count(), 3, "a file for each process");
}

#[test]
fn a_full_disk_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("finetune"), "in the way").unwrap();
    let mut events = Events::resume(folder.path(), "finetune", 0);
    let error = events.record(&Record::Step(&StepReport { phase: "finetune", ..StepReport::default() }));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("cannot write ") && error.contains("finetune"), "{error}");
}
