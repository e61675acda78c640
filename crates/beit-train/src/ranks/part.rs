//! What a micro-batch measured, as a record that travels.

use crate::error::Result;
use crate::task::Outcome;
use beit_ops::Ops;

/// Numbers that name nothing: which terms there are is known to every rank.
pub(super) fn written<O: Ops>(ops: &O, parts: &[Outcome<O::Tensor>]) -> Result<Vec<f64>> {
    let mut record = vec![parts.len() as f64];
    for Outcome { images, rows, metrics, terms, known } in parts {
        record.extend([*images as f64, *rows as f64]);
        append(&mut record, ops.read(metrics)?.into_iter().map(f64::from));
        let terms = terms.as_ref().map(|(_, values)| ops.read(values)).transpose()?;
        append(&mut record, terms.unwrap_or_default().into_iter().map(f64::from));
        append(&mut record, known.iter().map(|&(_, value)| value));
    }
    Ok(record)
}

fn append(record: &mut Vec<f64>, values: impl Iterator<Item = f64>) {
    let at = record.len();
    record.push(0.0);
    record.extend(values);
    record[at] = (record.len() - at - 1) as f64;
}

/// The parts of another rank. `like` is one of this rank's, for the names; none where the record is not of such parts.
pub(super) fn parts<O: Ops>(
    ops: &O,
    record: &[f64],
    like: &Outcome<O::Tensor>,
) -> Option<Vec<Outcome<O::Tensor>>> {
    let mut record = Record(record);
    let count = record.count()?;
    let parts = (0..count).map(|_| part(ops, &mut record, like)).collect::<Option<_>>()?;
    record.0.is_empty().then_some(parts)
}

fn part<O: Ops>(ops: &O, record: &mut Record<'_>, like: &Outcome<O::Tensor>) -> Option<Outcome<O::Tensor>> {
    let tensor = |values: &[f64]| {
        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        ops.upload([values.len()], &values)
    };
    let (images, rows) = (record.count()?, record.count()?);
    let (metrics, terms, known) = (record.list()?, record.list()?, record.list()?);
    if like.terms.as_ref().map_or(0, |(names, _)| names.len()) != terms.len()
        || like.known.len() != known.len()
        || ops.shape(&like.metrics).elements() != metrics.len()
    {
        return None;
    }
    let terms = like.terms.as_ref().map(|(names, _)| (*names, tensor(terms)));
    let known = like.known.iter().zip(known).map(|(&(name, _), &value)| (name, value)).collect();
    Some(Outcome { images, rows, metrics: tensor(metrics), terms, known })
}

/// What is left to be read.
struct Record<'a>(&'a [f64]);

impl<'a> Record<'a> {
    fn count(&mut self) -> Option<usize> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first as usize)
    }

    fn list(&mut self) -> Option<&'a [f64]> {
        let count = self.count()?;
        let (list, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(list)
    }
}
