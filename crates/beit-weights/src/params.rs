//! Parameter trees from and to files.

use crate::error::{Error, Problem, Result};
use crate::names::{Layout, Stored, is_buffer, wrapper};
use crate::tensors::{TensorFile, TensorWriter};
use beit_ops::{Ops, Shape, Tree};
use std::collections::HashSet;

/// Reads the parameters of a model whose shapes are known and puts them on a device. The file's layout is recognised by its names.
///
/// ```no_run
/// # use beit_heads::{Mim, MimConfig};
/// # use beit_ops::{Host, Shape};
/// # fn example(config: &MimConfig) -> beit_weights::Result<()> {
/// let file = beit_weights::TensorFile::open("beit/model.safetensors")?;
/// let model: Mim<_> = beit_weights::load_params(&Host::<f32>::new(), &file, &Mim::<Shape>::of(config))?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// When a tensor is missing, is no parameter, or has another shape or type; all of them are named.
pub fn load_params<O: Ops, S: Tree<Shape>>(
    ops: &O,
    file: &TensorFile,
    shapes: &S,
) -> Result<S::Of<O::Tensor>> {
    map_params(file, shapes, &mut |_, shape, values| ops.upload(*shape, &values))
}

/// [`load_params`] to leaves that `f(name, shape, values)` makes.
pub(crate) fn map_params<S: Tree<Shape>, U>(
    file: &TensorFile,
    shapes: &S,
    f: &mut dyn FnMut(&str, &Shape, Vec<f32>) -> U,
) -> Result<S::Of<U>> {
    let names = Names::of(file);
    let problems = names.problems(file, shapes);
    if !problems.is_empty() {
        return Err(Error::Tensors { path: file.path().to_owned(), problems });
    }
    let values = |name: &str| names.values(file, name).expect("a file without problems has every tensor");
    Ok(shapes.map_named("", &mut |name, shape| f(name, shape, values(name))))
}

/// How names are found in one file.
struct Names {
    layout: Layout,
    wrapper: &'static str,
}

impl Names {
    fn of(file: &TensorFile) -> Self {
        let names = file.names();
        let wrapper = wrapper(&names);
        let bare: Vec<String> = names.iter().map(|name| name[wrapper.len()..].to_owned()).collect();
        Self { layout: Layout::of(&bare), wrapper }
    }

    fn stored(&self, name: &str) -> Vec<String> {
        let parts = match self.layout.stored(name) {
            Stored::Whole(name) => vec![name],
            Stored::Thirds(names) => names.to_vec(),
        };
        parts.iter().map(|name| format!("{}{name}", self.wrapper)).collect()
    }

    fn values(&self, file: &TensorFile, name: &str) -> Result<Vec<f32>> {
        let mut parts = self.stored(name).into_iter().map(|name| file.floats(&name));
        let first = parts.next().expect("every parameter is stored somewhere")?;
        parts.try_fold(first, |mut all, part| {
            all.extend(part?);
            Ok(all)
        })
    }

    /// Everything in which the file differs from the model.
    fn problems(&self, file: &TensorFile, shapes: &impl Tree<Shape>) -> Vec<Problem> {
        let (mut problems, mut known) = (Vec::new(), HashSet::new());
        shapes.for_each("", &mut |name, shape| {
            let parts = self.stored(&name);
            let expected = part(*shape, parts.len());
            for name in parts {
                if file.shape(&name).is_none() {
                    problems.push(Problem::Missing { name: name.clone(), expected: Some(expected) });
                }
                problems.extend(file.check_floats(&name, &expected));
                known.insert(name);
            }
        });
        for name in file.names() {
            if !known.contains(&name) && !is_buffer(&name) {
                let found = file.shape(&name).unwrap_or_default().to_vec();
                problems.push(Problem::Unexpected { name, found });
            }
        }
        problems
    }
}

/// The shape of one of `parts` equal groups of rows.
fn part(shape: Shape, parts: usize) -> Shape {
    let mut extents = shape.to_vec();
    if let Some(rows) = extents.first_mut() {
        *rows /= parts;
    }
    Shape::from_slice(&extents).expect("as many extents as before")
}

/// Adds the parameters of a model, read from a device, to a file under the names of a layout.
///
/// # Errors
///
/// When the device fails.
pub fn save_params<O: Ops>(
    ops: &O,
    writer: &mut TensorWriter,
    params: &impl Tree<O::Tensor>,
    layout: Layout,
) -> Result<()> {
    for (name, param) in params.named() {
        let (shape, values) = (ops.shape(param), ops.read(param)?);
        match layout.stored(&name) {
            Stored::Whole(name) => {
                writer.floats(name, &shape, &values);
            }
            Stored::Thirds(names) => {
                for (name, values) in names.into_iter().zip(values.chunks_exact(values.len() / 3)) {
                    writer.floats(name, &part(shape, 3), values);
                }
            }
        }
    }
    Ok(())
}
