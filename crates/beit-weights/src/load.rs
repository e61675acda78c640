//! From the tensors of a file to the parameters of a model, of the same or of another shape.

use crate::error::{Error, Problem, Result};
use crate::names::{is_counter, is_variance};
use crate::report::{Report, Resized};
use crate::resize::{Resizing, resize_positions, resize_relative_table};
use crate::weights::Weights;
use beit_ops::{Device, Leaf, Shape, Start, Tree, relative_position_rows};
use safetensors::Dtype;
use std::collections::BTreeSet;

/// The relative position table that all layers share.
pub(crate) const SHARED_TABLE: &str = "rel_pos_bias.relative_position_bias_table";
/// How the name of a layer's own table ends.
const LAYER_TABLE: &str = ".attn.relative_position_bias_table";
const POSITIONS: &str = "pos_embed";

/// How a checkpoint is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoadOptions {
    /// Height and width of the pictures that the model shall see, where they are not the checkpoint's: positions are then resized.
    pub image: Option<[usize; 2]>,
    /// How positions are resized.
    pub resizing: Resizing,
    /// Take what fits and report the rest, instead of failing.
    pub lenient: bool,
}

/// What a model may lack in a file, or leave in it.
pub(crate) struct Allowance {
    /// A parameter that may be new.
    pub(crate) new: fn(&Leaf) -> bool,
    /// A parameter that may stay in the file.
    pub(crate) dropped: fn(&str) -> bool,
}

impl Allowance {
    /// File and model have the same parameters.
    pub(crate) const NONE: Self = Self { new: |_| false, dropped: |_| false };
}

/// Where a parameter comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The file, under the same name, in the same shape.
    Taken,
    /// The file, in the shape of another window.
    Resized,
    /// The table that all layers shared, of the same or of another window.
    Copied,
    /// Nowhere.
    New,
}

/// The tensors of a file on their way into a model.
pub(crate) struct Source<'a> {
    weights: &'a Weights,
    options: LoadOptions,
    /// Rows and columns of patches of the file's model, and of the one to be made.
    windows: [[usize; 2]; 2],
    /// What is not taken although the file has it.
    passed_over: fn(&str) -> bool,
    used: BTreeSet<String>,
    failure: Option<Error>,
    /// Tensors with NaN, infinity or a negative variance.
    broken: Vec<Problem>,
    report: Report,
}

impl<'a> Source<'a> {
    pub(crate) fn new(weights: &'a Weights, options: LoadOptions, windows: [[usize; 2]; 2]) -> Self {
        let counters = weights.names().filter(|name| is_counter(name)).flat_map(|name| weights.stored(name));
        let report = Report {
            buffers: weights.buffers().iter().cloned().chain(counters).collect(),
            outside: weights.outside().to_vec(),
            windows,
            ..Report::default()
        };
        Self {
            weights,
            options,
            windows,
            passed_over: |_| false,
            used: BTreeSet::new(),
            failure: None,
            broken: Vec::new(),
            report,
        }
    }

    /// Takes no parameters with these names, as if the file lacked them.
    pub(crate) fn passing_over(self, names: fn(&str) -> bool) -> Self {
        Self { passed_over: names, ..self }
    }

    /// The parameters of a model of these shapes; `fresh` gives those that the file lacks and the allowance, or leniency, lets be new.
    ///
    /// Everything is compared before anything is read, so that a file that does not fit costs nothing.
    pub(crate) fn params<O: Device, S: Tree<Shape>>(
        &mut self,
        ops: &O,
        shapes: &S,
        allowance: &Allowance,
        fresh: &mut dyn FnMut(&Leaf, &Shape) -> Vec<f32>,
    ) -> Result<S::Of<O::Tensor>> {
        let problems = self.problems(shapes, allowance);
        if !(problems.is_empty() || self.options.lenient) {
            return Err(Error::Tensors { path: self.weights.path().to_owned(), problems });
        }
        self.report.overlooked = problems;
        let params = shapes.map_described(&mut |leaf, shape| {
            let values = self.values(&leaf.name, *shape).unwrap_or_else(|| fresh(leaf, shape));
            ops.upload(*shape, &values)
        });
        self.report.dropped = self.left().filter(|name| *name != SHARED_TABLE || !self.copied()).collect();
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let problems = std::mem::take(&mut self.broken);
        if !(problems.is_empty() || self.options.lenient) {
            return Err(Error::Unsound { path: self.weights.path().to_owned(), problems });
        }
        self.report.overlooked.extend(problems);
        Ok(params)
    }

    pub(crate) fn report(self) -> Report {
        self.report
    }

    fn problems(&self, shapes: &impl Tree<Shape>, allowance: &Allowance) -> Vec<Problem> {
        let (mut problems, mut known) = (Vec::new(), BTreeSet::new());
        for (leaf, shape) in shapes.described() {
            match self.origin(&leaf.name, *shape) {
                Origin::Taken | Origin::Resized => problems.extend(self.weights.problems(&leaf.name)),
                Origin::Copied => problems.extend(self.weights.problems(SHARED_TABLE)),
                Origin::New if (allowance.new)(&leaf) => {}
                Origin::New => problems.extend(self.why_not(&leaf.name, *shape)),
            }
            known.insert(leaf.name);
        }
        let shared = known.iter().any(|name| name.ends_with(LAYER_TABLE));
        for name in self.parameters().filter(|name| !known.contains(*name)) {
            if !((allowance.dropped)(name) || (shared && name == SHARED_TABLE)) {
                let found = self.weights.shape(name).unwrap_or_default();
                problems.push(Problem::Unexpected { name: self.weights.stored(name).join("`, `"), found });
            }
        }
        problems
    }

    /// Why a parameter cannot be had from the file.
    fn why_not(&self, name: &str, shape: Shape) -> Vec<Problem> {
        let stored = self.weights.stored(name);
        let missing = self.weights.problems(name);
        match self.weights.shape(name) {
            Some(found) if missing.is_empty() => {
                vec![Problem::Shape { name: stored.join("`, `"), found, expected: shape.to_vec() }]
            }
            _ => missing.into_iter().map(|problem| problem.expecting(part(shape, stored.len()))).collect(),
        }
    }

    fn origin(&self, name: &str, shape: Shape) -> Origin {
        if (self.passed_over)(name) {
            return Origin::New;
        }
        let found = self.weights.shape(name);
        match found {
            Some(found) if found == *shape => Origin::Taken,
            Some(found) if self.resizable(name, &found, shape) => Origin::Resized,
            None if name.ends_with(LAYER_TABLE) => {
                let shared = self.weights.shape(SHARED_TABLE);
                let fits = |found: &Vec<usize>| *found == *shape || self.resizable(name, found, shape);
                if shared.as_ref().is_some_and(fits) { Origin::Copied } else { Origin::New }
            }
            _ => Origin::New,
        }
    }

    /// Whether one window explains the shape that was found, and the other the one that is expected.
    fn resizable(&self, name: &str, found: &[usize], shape: Shape) -> bool {
        let extents = |[rows, cols]: [usize; 2]| match found {
            [_, heads] if name.ends_with(&LAYER_TABLE[".attn".len()..]) => {
                vec![relative_position_rows([rows, cols]), *heads]
            }
            [1, _, width] if name == POSITIONS => vec![1, rows * cols + 1, *width],
            _ => Vec::new(),
        };
        let [from, to] = self.windows.map(extents);
        from == found && to == *shape
    }

    /// The values of a parameter, if the file has them.
    fn values(&mut self, name: &str, shape: Shape) -> Option<Vec<f32>> {
        let origin = self.origin(name, shape);
        let source = if origin == Origin::Copied { SHARED_TABLE } else { name };
        if origin == Origin::New || !self.weights.problems(source).is_empty() {
            self.report.new.push(name.to_owned());
            return None;
        }
        self.used.insert(source.to_owned());
        let Some(values) = self.sound(source) else {
            self.report.new.push(name.to_owned());
            return None;
        };
        let dtype = self.weights.dtype(source);
        if dtype != Some(Dtype::F32) {
            let dtype = dtype.map_or("several types".to_owned(), |dtype| format!("{dtype:?}"));
            self.report.converted.push((name.to_owned(), dtype));
        }
        match origin {
            Origin::Copied => self.report.copied.push(name.to_owned()),
            _ => self.report.taken.push(name.to_owned()),
        }
        let same = values.len() == shape.elements();
        Some(if same { values } else { self.resized(name, shape, &values) })
    }

    /// The numbers of a parameter, if they are some: a tensor with NaN, infinity or a negative variance is one that the file lacks.
    fn sound(&mut self, source: &str) -> Option<Vec<f32>> {
        let problem = match self.weights.finite_floats(source) {
            Ok(values) if !is_variance(source) => return Some(values),
            Ok(values) => match Problem::negative(&self.weights.stored(source).join("`, `"), &values) {
                None => return Some(values),
                Some(problem) => problem,
            },
            Err(Error::Tensor { problem: problem @ Problem::NotFinite { .. }, .. }) => problem,
            Err(error) => {
                self.failure = Some(error);
                return None;
            }
        };
        if !self.broken.contains(&problem) {
            self.broken.push(problem);
        }
        None
    }

    fn resized(&mut self, name: &str, shape: Shape, values: &[f32]) -> Vec<f32> {
        let ([from, to], (tables, positions)) = (self.windows, self.options.resizing.methods());
        self.report.resized.push(Resized { name: name.to_owned(), resizing: self.options.resizing });
        match (name, &*shape) {
            (POSITIONS, &[_, _, width]) => resize_positions(values, width, from, to, positions),
            (_, &[_, heads]) => resize_relative_table(values, heads, from, to, tables),
            _ => unreachable!("only tables and positions are resizable"),
        }
    }

    fn copied(&self) -> bool {
        !self.report.copied.is_empty()
    }

    /// Parameters that stay in the file.
    fn left(&self) -> impl Iterator<Item = String> {
        self.parameters().filter(|name| !self.used.contains(*name)).map(str::to_owned)
    }

    /// What the file has of the model, without the counts of batch norms.
    fn parameters(&self) -> impl Iterator<Item = &str> {
        self.weights.names().filter(|name| !is_counter(name))
    }
}

/// Reads the parameters of a model whose shapes are known and puts them on a device. The file's layout is recognised by its names.
///
/// ```no_run
/// # use beit_heads::{Mim, MimConfig};
/// # use beit_ops::{Host, Shape};
/// # fn example(config: &MimConfig) -> beit_weights::Result<()> {
/// let weights = beit_weights::Weights::open("beit/model.safetensors")?;
/// let model: Mim<_> = beit_weights::load_params(&Host::<f32>::new(), &weights, &Mim::<Shape>::shapes(config))?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// When a tensor is missing, is no parameter, has another shape or type, or holds NaN or infinity; all of them are named.
pub fn load_params<O: Device, S: Tree<Shape>>(
    ops: &O,
    weights: &Weights,
    shapes: &S,
) -> Result<S::Of<O::Tensor>> {
    let mut source = Source::new(weights, LoadOptions::default(), [[0; 2]; 2]);
    source.params(ops, shapes, &Allowance::NONE, &mut initial)
}

/// What a parameter is that a file lacks: the weight of a norm passes everything on, all else adds nothing.
pub(crate) fn initial(leaf: &Leaf, shape: &Shape) -> Vec<f32> {
    let value = if leaf.role.start() == Start::Ones { 1.0 } else { 0.0 };
    vec![value; shape.elements()]
}

/// The shape of one of `parts` equal groups of rows.
pub(crate) fn part(shape: Shape, parts: usize) -> Shape {
    let mut extents = shape.to_vec();
    if let Some(rows) = extents.first_mut() {
        *rows /= parts;
    }
    Shape::from_slice(&extents).expect("as many extents as before")
}
