//! Charts of features that were judged while a model learnt.

use super::history::History;
use super::page::figure;
use crate::picture::chart::{self, Axes, Curve};
use maud::{Markup, html};

/// The phase of these lines in the metrics.
pub(super) const PHASE: &str = "features";

type Points = [(f64, f64)];

/// Of one run: accuracy over steps, of all that is worth comparing on one chart; and accuracy over blocks, at the beginning and at the end.
pub(super) fn charts(run: &History) -> Markup {
    html! {
        div.charts {
            (over_steps(run))
            (over_blocks(run))
        }
    }
}

fn over_steps(run: &History) -> Markup {
    let named = [
        ("best_layer", "best block"),
        ("last_layer", "last block"),
        ("average_best_layer", "average, best"),
        ("average_last_layer", "average, last"),
        ("pixels", "pixels"),
    ];
    let curve = |(colour, (key, name)): (usize, (&str, &'static str))| {
        let points = points(run, key)?;
        Some(Curve { colour, points, name, level: key == "pixels" })
    };
    let curves: Vec<_> = named.into_iter().enumerate().filter_map(curve).collect();
    let axes = Axes { x: "steps", y: "accuracy", ..Axes::default() };
    let about = "share of labelled training images that their nearest neighbours name rightly; the model learns from no label";
    figure("Frozen features", about, chart::draw(&axes, &curves), None)
}

fn over_blocks(run: &History) -> Markup {
    let blocks = (1..).map_while(|block| points(run, &format!("block_{block}")));
    let blocks: Vec<&Points> = blocks.collect();
    let of = |end: fn(&Points) -> Option<&(f64, f64)>| -> Vec<(f64, f64)> {
        let values = (1..).map(f64::from).zip(&blocks);
        values.filter_map(|(block, points)| Some((block, end(points)?.1))).collect()
    };
    let (first, newest) = (of(|points| points.first()), of(|points| points.last()));
    let curves = [
        Curve { colour: 6, points: &first, name: "first", level: false },
        Curve { colour: 0, points: &newest, name: "newest", level: false },
    ];
    let axes = Axes { x: "block", y: "accuracy", whole: true, ..Axes::default() };
    let about = "where classes are told apart best; the last block names tokens, and need not be the best";
    figure("Accuracy over blocks", about, chart::draw(&axes, &curves), None)
}

fn points<'r>(run: &'r History, key: &str) -> Option<&'r Points> {
    run.curves.get(&(PHASE.to_owned(), key.to_owned())).map(Vec::as_slice)
}

/// Whether a measure of these is shown with others, or is none of how well it goes.
pub(super) fn is_hidden(name: &str) -> bool {
    let of_model = name.strip_prefix("average_").unwrap_or(name);
    of_model.starts_with("block_") || ["best_block", "seconds"].contains(&of_model)
}
