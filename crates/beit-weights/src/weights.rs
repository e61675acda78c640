//! The tensors of a checkpoint by our names, whatever the file calls them.

use crate::error::{Error, Problem, Result};
use crate::names::{Kind, Layout, Naming, Parameters, is_index, is_statistic, joined};
use crate::tensors::TensorFile;
use safetensors::Dtype;
use std::collections::BTreeMap;
use std::path::Path;

/// A file of tensors whose layout is recognised by its names. Parameters go by our names, in the shapes that we give them.
pub struct Weights {
    file: TensorFile,
    naming: Naming,
    /// Which model of several was taken.
    choice: Option<String>,
    /// Where the file has our parameters.
    stored: BTreeMap<String, Stored>,
    /// Indices that the file stores as if they were parameters.
    buffers: Vec<String>,
    /// Tensors beside the model: an optimiser's, say.
    outside: Vec<String>,
}

impl Weights {
    /// Opens a file; see [`TensorFile::open`].
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or these are no names of a model that this project knows.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, None)
    }

    /// [`open`](Self::open) that takes these parameters where the file has those of the last step and an average beside them; without
    /// a word, the average.
    ///
    /// # Errors
    ///
    /// As those of [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, parameters: Option<Parameters>) -> Result<Self> {
        let file = TensorFile::open(path)?;
        let (naming, choice) = Naming::recognise(file.names(), parameters).ok_or_else(|| unknown(&file))?;
        let mut weights =
            Self { file, naming, choice, stored: BTreeMap::new(), buffers: Vec::new(), outside: Vec::new() };
        for name in weights.file.names().to_vec() {
            weights.add(name)?;
        }
        Ok(weights)
    }

    /// Finds the place of one tensor of the file.
    fn add(&mut self, name: String) -> Result<()> {
        let Some((ours, part)) = self.naming.ours(&name) else {
            self.outside.push(name);
            return Ok(());
        };
        if is_index(&ours) {
            self.buffers.push(name);
            return Ok(());
        }
        if let Some(parts) = joined::parts(&ours) {
            return (0..)
                .zip(parts)
                .try_for_each(|(third, ours)| self.put(ours, None, Some(third), name.clone()));
        }
        self.put(ours, part, None, name)
    }

    /// Notes that a parameter, or a part of it, is a tensor of the file, or a third of one.
    fn put(&mut self, ours: String, part: Option<usize>, third: Option<usize>, name: String) -> Result<()> {
        let stored = self.stored.entry(ours).or_insert_with(|| Stored { parts: BTreeMap::new(), third });
        let other =
            stored.parts.get(&part).or(stored.parts.values().next().filter(|_| stored.third != third));
        if let Some(other) = other {
            let problem = format_args!("`{other}` and `{name}` are the same parameter");
            return Err(Error::malformed(self.file.path(), problem));
        }
        stored.parts.insert(part, name);
        Ok(())
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Whose names the file has.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.naming.layout
    }

    /// What the names belong to.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.naming.kind
    }

    /// Where the file has several models, or an average beside the last step: which was taken, as a sentence.
    #[must_use]
    pub fn choice(&self) -> Option<&str> {
        self.choice.as_deref()
    }

    /// Whether the file has the head of a kind of model. A transformer without a head has that of none.
    pub(crate) fn has_head(&self, kind: Kind) -> bool {
        let head = match kind {
            Kind::Mim => "lm_head.",
            Kind::Classifier => "head.",
            Kind::Segmenter => "decode_head.",
            Kind::Encoder | Kind::Tokenizer => return false,
        };
        self.names().any(|name| name.starts_with(head))
    }

    /// The file as it is.
    #[must_use]
    pub fn file(&self) -> &TensorFile {
        &self.file
    }

    /// The parameters, and the statistics of batch norms, by our names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.stored.keys().map(String::as_str)
    }

    /// The parameters alone.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.names().filter(|name| !is_statistic(name))
    }

    /// Tensors of the file that are no parameters but indices of relative positions, by its names.
    #[must_use]
    pub fn buffers(&self) -> &[String] {
        &self.buffers
    }

    /// Tensors of the file that lie outside the model, by its names.
    #[must_use]
    pub fn outside(&self) -> &[String] {
        &self.outside
    }

    /// The names in the file of the parameter that we call `name`, whether they are there or not.
    #[must_use]
    pub fn stored(&self, name: &str) -> Vec<String> {
        match self.parts(name) {
            Some(parts) => parts.into_iter().map(str::to_owned).collect(),
            None => self.naming.stored(name),
        }
    }

    /// The extents of a parameter, if the file has it whole.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let parts = self.parts(name)?;
        let shapes = parts.iter().map(|part| self.file.shape(part)).collect::<Option<Vec<_>>>()?;
        let mut shape = shapes.first()?.to_vec();
        if self.third(name).is_some() {
            let rows = shape.first_mut()?;
            *rows = rows.is_multiple_of(3).then_some(*rows / 3)?;
        }
        // Three matrices are one when they are equally wide.
        for other in &shapes[1..] {
            let ([rows, width @ ..], [more, others @ ..]) = (&mut shape[..], *other) else { return None };
            *rows = rows.checked_add(*more)?;
            (width == others).then_some(())?;
        }
        Some(shape)
    }

    /// The type of a parameter's elements, if the file has it whole and in one type.
    #[must_use]
    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        let parts = self.parts(name)?;
        let dtype = self.file.dtype(parts.first()?)?;
        parts.iter().all(|part| self.file.dtype(part) == Some(dtype)).then_some(dtype)
    }

    /// The numbers of a parameter.
    ///
    /// # Errors
    ///
    /// When the file does not have it, or holds something else than real numbers.
    pub fn floats(&self, name: &str) -> Result<Vec<f32>> {
        self.joined(name, |part| self.file.floats(part))
    }

    /// The numbers of a parameter, all of them finite.
    ///
    /// # Errors
    ///
    /// When the file does not have it, or holds something else than finite real numbers.
    pub fn finite_floats(&self, name: &str) -> Result<Vec<f32>> {
        self.joined(name, |part| self.file.finite_floats(part))
    }

    /// The elements of a parameter as they are stored, row-major and little-endian.
    ///
    /// # Errors
    ///
    /// When the file does not have it or cannot be read.
    pub fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        self.joined(name, |part| {
            let bytes = self.file.bytes(part)?.into_owned();
            self.file.release(part);
            Ok(bytes)
        })
    }

    /// What is missing of a parameter, or cannot be read as real numbers.
    pub(crate) fn problems(&self, name: &str) -> Vec<Problem> {
        let problem = |part: String| match self.file.shape(&part) {
            None => Some(Problem::Missing { name: part, expected: None }),
            Some(_) => self.file.check_type(&part),
        };
        self.stored(name).into_iter().filter_map(problem).collect()
    }

    /// The parts of a parameter, if all are there.
    fn parts(&self, name: &str) -> Option<Vec<&str>> {
        let stored = self.stored.get(name)?;
        let parts: Vec<&str> = stored.parts.values().map(String::as_str).collect();
        (stored.third.is_some() || parts.len() == self.naming.stored(name).len()).then_some(parts)
    }

    /// Which third of a tensor of the file a parameter is.
    fn third(&self, name: &str) -> Option<usize> {
        self.stored.get(name)?.third
    }

    fn joined<T>(&self, name: &str, read: impl Fn(&str) -> Result<Vec<T>>) -> Result<Vec<T>> {
        let missing = || Problem::Missing { name: name.to_owned(), expected: None };
        let missing = || Error::Tensor { path: self.path().to_owned(), problem: missing() };
        let parts = self.parts(name).ok_or_else(missing)?;
        let [first, others @ ..] = &parts[..] else { return Err(missing()) };
        let mut all = read(first)?;
        for other in others {
            all.extend(read(other)?);
        }
        if let Some(third) = self.third(name) {
            let length = all.len() / 3;
            all.drain(..third * length);
            all.truncate(length);
        }
        Ok(all)
    }
}

/// Where the file has a parameter: in one tensor, in three of a third of the rows each, or in a third of one.
struct Stored {
    parts: BTreeMap<Option<usize>, String>,
    third: Option<usize>,
}

/// Names that a message shows of a file that nobody knows.
const SHOWN: usize = 3;

fn unknown(file: &TensorFile) -> Error {
    let names: Vec<_> = file.names().iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let found = if names.is_empty() { "no tensors".to_owned() } else { names.join(", ") };
    Error::malformed(
        file.path(),
        format_args!(
            "found {found}, expected the names of a BEiT model or of a DALL-E tokenizer in any layout"
        ),
    )
}
