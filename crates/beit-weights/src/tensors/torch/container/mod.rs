//! What torch.save packs a pickle and its numbers into.

mod beginning;
mod legacy;
mod place;
mod zip;

pub(super) use beginning::{Kind, PREFIX};
pub(super) use place::Placed;
use place::{Storages, place};
pub(super) use zip::ARCHIVE;

use super::fault::{Found, unreadable};
use super::names::class_names;
use super::pickle::Pickle;
use beginning::beginning;
use std::io::{Read, Seek, SeekFrom};

/// What a file has for us.
#[derive(Default)]
pub(super) struct Contents {
    /// The tensors by name, in the order of the file.
    pub(super) tensors: Vec<(String, Placed)>,
    /// The names of a classifier's classes, where they stand beside the tensors.
    pub(super) class_names: Option<Vec<String>>,
}

impl Contents {
    fn of(saved: &Pickle<'_>, storages: &Storages, length: u64) -> Found<Self> {
        Ok(Self { tensors: place(saved, storages, length)?, class_names: class_names(saved) })
    }
}

/// Reads everything but the numbers.
pub(super) fn contents<R: Read + Seek>(file: &mut R) -> Found<Contents> {
    let mut first = Vec::new();
    file.take(PREFIX as u64).read_to_end(&mut first)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    match Kind::of_first_bytes(&first) {
        Some(Kind::Zip) => zip::contents(file, length),
        Some(Kind::Legacy) => legacy::contents(file, length),
        Some(Kind::Tar) => unreadable("it was saved before torch 0.1.10; load and save it with a later one"),
        Some(Kind::Pickle) => bare(file),
        None => unreadable("it begins neither like a zip nor like a pickle"),
    }
}

/// A pickle alone is read for what it wants to call, which is the better reason to refuse it.
fn bare(file: &mut impl Read) -> Found<Contents> {
    Pickle::read(&beginning(file)?)?;
    unreadable("it is a pickle without tensors, expected what torch.save writes")
}
