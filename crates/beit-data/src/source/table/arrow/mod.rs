//! Arrow files, as `datasets` keeps them: streams of batches of rows. Only what a picture needs is read.

mod layout;
mod stream;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use arrow_ipc::{Endianness, MessageHeader, Schema};
use serde_json::Value;

use super::columns::Chosen;
use super::features::{Features, KEY};
use super::files::Files;
use super::kept::Kept;
use super::labels::Gathered;
use super::shard::Shard;
use super::spec::Spec;
use super::{Group, Part, Said};
use crate::decode::MAX_PICTURE_BYTES;
use crate::error::{Error, Result};
use crate::files::read_regular;
use layout::{At, columns};
use stream::{Cells, Messages, Picture, cells};

/// Longest file of JSON beside the data.
const MAX_JSON: u64 = 1 << 24;
/// Longest text that is a label.
const MAX_LABEL: u64 = 1 << 16;

/// A file, with where its pictures lie.
struct ArrowFile {
    shard: Shard,
    batches: Vec<Cells>,
    /// The number after the last row of each batch.
    ends: Vec<usize>,
    /// Bytes of each batch.
    bytes: Vec<u64>,
}

/// Opens a file and gathers its labels.
pub(super) fn open(
    shard: Shard,
    spec: &Spec,
    labels: &mut Gathered,
) -> Result<(Box<dyn Part>, Option<String>)> {
    let file = shard.open()?;
    let wrong = |problem: String| shard.error(problem);
    let mut messages = Messages::new(&file, shard.length).map_err(wrong)?;
    let first = messages
        .next()
        .map_err(wrong)?
        .ok_or_else(|| shard.error("expected an Arrow file, found nothing in it"))?;
    let message = first.message().map_err(wrong)?;
    let schema =
        message.header_as_schema().ok_or_else(|| shard.error("expected a schema in its first message"))?;
    let (chosen, names) = chosen(schema, &shard.path, spec).map_err(wrong)?;
    labels.name(names).map_err(wrong)?;
    let (mut batches, mut ends, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(framed) = messages.next().map_err(wrong)? {
        let Some(batch) = framed.batch().map_err(wrong)? else {
            check_kind(framed.message().map_err(wrong)?.header_type()).map_err(wrong)?;
            continue;
        };
        let found = cells(batch, framed.body, &chosen.image).map_err(wrong)?;
        match &chosen.label {
            None => labels.none(found.rows),
            Some(label) => {
                let column = cells(batch, framed.body, &label.at).map_err(wrong)?;
                gather(&column, &file, label.text, labels)
                    .map_err(|problem| shard.error(format!("column `{}`: {problem}", label.name)))?;
            }
        }
        if found.rows > 0 {
            ends.push(ends.last().unwrap_or(&0) + found.rows);
            bytes.push(framed.body.bytes);
            batches.push(found);
        }
    }
    let note = chosen.note.map(|note| format!("{}: {note}", shard.path.display()));
    Ok((Box::new(ArrowFile { shard, batches, ends, bytes }), note))
}

/// Dictionaries belong to columns that are not read.
fn check_kind(kind: MessageHeader) -> Said<()> {
    match kind {
        MessageHeader::DictionaryBatch => Ok(()),
        other => Err(format!(
            "expected batches of rows, found {}",
            other.variant_name().unwrap_or("another message")
        )),
    }
}

fn gather(column: &Cells, file: &std::fs::File, text: bool, labels: &mut Gathered) -> Said<()> {
    match text {
        true => column.texts(file, MAX_LABEL)?.iter().for_each(|label| labels.text(label.as_deref())),
        false => column.integers(file)?.into_iter().for_each(|label| labels.number(label)),
    }
    Ok(())
}

/// The columns to read, and the names of the classes.
fn chosen(schema: Schema<'_>, path: &Path, spec: &Spec) -> Said<(Chosen<At>, Option<Vec<String>>)> {
    if schema.endianness() != Endianness::Little {
        return Err("its numbers begin with their highest byte, which is not read".to_owned());
    }
    let mut pairs = schema.custom_metadata().into_iter().flatten();
    let json = pairs.find(|pair| pair.key() == Some(KEY)).and_then(|pair| pair.value());
    let mut features = match (json, path.with_file_name("dataset_info.json")) {
        (Some(json), _) => Features::parse(json)?,
        (None, beside) if beside.is_file() => {
            let text =
                read_regular(&beside, MAX_JSON).map_err(|error| format!("{}: {error}", beside.display()))?;
            Features::parse(&String::from_utf8_lossy(&text))
                .map_err(|problem| format!("{}: {problem}", beside.display()))?
        }
        (None, _) => Features::default(),
    };
    let chosen = Chosen::choose(&columns(schema)?, &features, spec)?;
    let names = chosen.label.as_ref().and_then(|label| features.take(&label.name));
    Ok((chosen, names))
}

impl Part for ArrowFile {
    fn shard(&self) -> &Shard {
        &self.shard
    }

    fn groups(&self) -> Vec<Group> {
        self.batches
            .iter()
            .zip(&self.bytes)
            .map(|(batch, &bytes)| Group { rows: batch.rows, bytes })
            .collect()
    }

    fn encoded(&self, _: usize, row: usize, _: &Kept) -> Result<Vec<u8>> {
        let (number, inside) = super::place(&self.ends, row);
        let bad = |reason: String| self.shard.bad_row(row, reason);
        let file = self.shard.open().map_err(|error| match error {
            Error::Read { source, .. } => bad(source.to_string()),
            other => other,
        })?;
        match self.batches[number].picture(&file, inside, MAX_PICTURE_BYTES).map_err(bad)? {
            Picture::Bytes(bytes) => Ok(bytes),
            Picture::Null => Err(bad("it has no bytes: its image is null".to_owned())),
            Picture::File(path) if Path::new(&path).is_absolute() => read_regular(&path, MAX_PICTURE_BYTES)
                .map_err(|error| bad(format!("its image is the file {path}: {error}"))),
            Picture::File(path) => {
                Err(bad(format!("it has no bytes, and `{path}` is no whole path of a file")))
            }
        }
    }
}

/// Of folders that `save_to_disk` wrote, the files that `state.json` names, in its order: others are left from before.
pub(super) fn saved(files: Files) -> Result<Files> {
    let Files { files, training, note } = files;
    Ok(Files { files: named(files)?, training: named(training)?, note })
}

fn named(files: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    let mut lists: HashMap<PathBuf, bool> = HashMap::new();
    let mut all = Vec::new();
    for file in files {
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        match lists.get(&folder) {
            Some(true) => {}
            Some(false) => all.push(file),
            None => {
                let list = state(&folder.join("state.json"))?;
                lists.insert(folder.clone(), list.is_some());
                match list {
                    Some(names) => all.extend(names.iter().map(|name| folder.join(name))),
                    None => all.push(file),
                }
            }
        }
    }
    Ok(all)
}

/// The files of a saved set; none where the file is not there.
fn state(path: &Path) -> Result<Option<Vec<String>>> {
    if !path.is_file() {
        return Ok(None);
    }
    let text =
        read_regular(path, MAX_JSON).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    state_of(&text).map(Some).map_err(|problem| Error::Table { path: path.to_owned(), problem })
}

fn state_of(text: &[u8]) -> Said<Vec<String>> {
    let state: Value = serde_json::from_slice(text).map_err(|error| format!("expected JSON: {error}"))?;
    for key in ["_indices_data_files", "_indices_files"] {
        if state.get(key).and_then(Value::as_array).is_some_and(|files| !files.is_empty()) {
            return Err(
                "its rows are a choice among others, which is not read: save it after flatten_indices()"
                    .to_owned(),
            );
        }
    }
    let files =
        state.get("_data_files").and_then(Value::as_array).ok_or("expected `_data_files`, found none")?;
    let name = |file: &Value| {
        let name = file.get("filename").and_then(Value::as_str).unwrap_or_default();
        match Path::new(name).file_name() == Some(name.as_ref()) {
            true => Ok(name.to_owned()),
            false => Err(format!("expected names of files beside it, found {file}")),
        }
    };
    files.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_names_files_beside_it() {
        let state = |text: &str| state_of(text.as_bytes());
        assert_eq!(
            state(r#"{"_data_files": [{"filename": "b.arrow"}, {"filename": "a.arrow"}]}"#).unwrap(),
            ["b.arrow", "a.arrow"]
        );
        for (text, problem) in [
            ("", "expected JSON"),
            ("{}", "`_data_files`"),
            (r#"{"_data_files": [{"filename": "../a.arrow"}]}"#, "beside it"),
            (r#"{"_data_files": [{"filename": "/a.arrow"}]}"#, "beside it"),
            (r#"{"_data_files": [{}]}"#, "beside it"),
            (r#"{"_data_files": [], "_indices_data_files": [{"filename": "i.arrow"}]}"#, "flatten_indices"),
        ] {
            let error = state(text).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
