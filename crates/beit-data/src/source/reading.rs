//! What the folders of a source hold, gathered one after the other.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::kinds::Unread;
use super::layout::quoted;
use super::paths::Paths;
use super::scan::Found;
use super::spelling::class_name;
use crate::error::{Error, Result};

/// The images so far, with their classes.
#[derive(Default)]
pub(crate) struct Reading {
    pub(crate) paths: Paths,
    pub(crate) labels: Vec<u32>,
    pub(crate) class_names: Vec<String>,
    /// For each class, files that are not read.
    pub(crate) unread: Vec<Unread>,
    /// The same of all classes, and of no class.
    pub(crate) all_unread: Unread,
    numbers: HashMap<String, u32>,
    /// Whether there may be no other classes than these.
    complete: bool,
    gifs: usize,
    /// Folders without an image.
    void: Vec<PathBuf>,
    /// The class of the folder before: folders come in the order of their names, so equal ones follow each other.
    last: Option<String>,
    /// Folders of a class that had one already.
    again: Vec<PathBuf>,
}

impl Reading {
    /// Nothing yet, of these classes and no others.
    pub(crate) fn of_classes(class_names: Vec<String>) -> Self {
        let mut reading = Self::default();
        class_names.into_iter().for_each(|name| {
            reading.number(name);
        });
        Self { complete: true, ..reading }
    }

    /// Adds images without labels.
    pub(crate) fn add_unlabelled(&mut self, found: Found) {
        self.count(&found);
        found.add_to(&mut self.paths);
    }

    /// Adds the folder of a class. One without an image is no class: unpacking, version control and viewers of pictures leave such
    /// folders behind.
    pub(crate) fn add_class(&mut self, folder: &Path, found: Found) -> Result<()> {
        if found.is_void() {
            self.void.push(folder.to_owned());
            return Ok(());
        }
        let name = class_name(folder);
        if self.last.as_ref() == Some(&name) {
            self.again.push(folder.to_owned());
        }
        let class = match self.numbers.get(&name) {
            Some(&class) => class,
            None if self.complete => return Err(Error::UnknownClass { path: folder.to_owned() }),
            None => self.number(name.clone()),
        };
        self.last = Some(name);
        self.unread[class as usize].extend(&found.unread);
        self.add_unlabelled(found);
        self.labels.resize(self.paths.len(), class);
        Ok(())
    }

    fn number(&mut self, name: String) -> u32 {
        let number = self.class_names.len() as u32;
        self.numbers.insert(name.clone(), number);
        self.class_names.push(name);
        self.unread.push(Unread::default());
        number
    }

    /// What the owner of `dir` should know.
    pub(crate) fn notes(&self, dir: &Path) -> Vec<String> {
        let Self { all_unread, gifs, void, again, .. } = self;
        let folder = dir.display();
        let said = |when: bool, line: String| when.then_some(line);
        [
            said(
                all_unread.files() > 0,
                format!(
                    "{folder}: {} files that look like images are not read: {all_unread}",
                    all_unread.files()
                ),
            ),
            said(*gifs > 0, format!("{folder}: of {gifs} gif files the first picture is read")),
            said(
                !void.is_empty(),
                format!("{folder}: folders without an image are left out: {}", quoted(void)),
            ),
            said(
                !again.is_empty(),
                format!(
                    "{folder}: several folders are one class, as their names are the same: {}",
                    quoted(again)
                ),
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn count(&mut self, found: &Found) {
        self.all_unread.extend(&found.unread);
        self.gifs += found.gifs;
    }
}
