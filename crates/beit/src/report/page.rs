//! The page. Whatever comes from a file is escaped by the macro that writes it.

use super::features;
use super::history::History;
use super::names::{self, Named};
use super::picture::Picture;
use crate::picture::GENERATOR;
use crate::picture::chart::{self, Axes, COLOURS, Curve};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::collections::BTreeSet;

const STYLE: &str = include_str!("page.css");

/// The page of one run, or of several beside one another.
pub(super) fn page(runs: &[History]) -> String {
    let title = match runs {
        [run] => format!("Run {}", run.name),
        runs => format!("{} runs compared", runs.len()),
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="generator" content=(GENERATOR);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                @if runs.len() > 1 { (key(runs)) }
                (notes(runs))
                (results(runs))
                (curves(runs))
                (codebook(runs))
                @for run in runs { (pictures(run, runs.len() > 1)) }
                (settings(runs))
            }
        }
    };
    page.into_string()
}

/// Which colour is which run.
fn key(runs: &[History]) -> Markup {
    html! {
        ul.key {
            @for (run, colour) in runs.iter().zip(COLOURS) {
                li { span style=(format!("background:{colour}")) {} (run.name) }
            }
        }
    }
}

fn notes(runs: &[History]) -> Markup {
    html! {
        @if runs.iter().any(|run| !run.notes.is_empty()) {
            ul.notes {
                @for run in runs {
                    @for note in &run.notes {
                        li { @if runs.len() > 1 { (run.name) ": " } (note) }
                    }
                }
            }
        }
    }
}

/// A table whose columns are runs. A cell that is none is a dash.
fn table(runs: &[History], rows: &[(String, Vec<Option<String>>)]) -> Markup {
    html! {
        div.wide {
            table {
                @if runs.len() > 1 {
                    thead { tr { th {} @for run in runs { th { (run.name) } } } }
                }
                tbody {
                    @for (name, cells) in rows {
                        tr { th scope="row" { (name) } @for cell in cells { td { (cell.as_deref().unwrap_or("–")) } } }
                    }
                }
            }
        }
    }
}

/// What was measured of models at their ends.
fn results(runs: &[History]) -> Markup {
    let all: BTreeSet<_> = runs.iter().flat_map(|run| run.results.keys()).collect();
    let row = |of: &&(String, String)| {
        let cell = |run: &History| run.results.get(*of).map(|&value| names::value(value));
        (format!("{}: {}", names::phase(&of.0), of.1.replace('_', " ")), runs.iter().map(cell).collect())
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    html! {
        h2 { "Results" }
        @if rows.is_empty() { p { "None yet: the run is not at its end." } } @else { (table(runs, &rows)) }
    }
}

/// Charts of all that has steps, phase by phase.
fn curves(runs: &[History]) -> Markup {
    let mut all: Vec<_> =
        runs.iter().flat_map(|run| run.curves.keys()).collect::<BTreeSet<_>>().into_iter().collect();
    all.retain(|(phase, name)| {
        !names::HIDDEN.contains(&name.as_str()) && (phase != features::PHASE || !features::is_hidden(name))
    });
    all.sort_by_key(|(phase, name)| {
        (names::phase_order(phase), phase.as_str(), names::order(name), name.as_str())
    });
    html! {
        @for of_phase in all.chunk_by(|one, next| one.0 == next.0) {
            h2 { (names::phase(&of_phase[0].0)) }
            @match runs {
                [run] if of_phase[0].0 == features::PHASE => (features::charts(run)),
                _ => div.charts { @for of in of_phase { (curve(runs, of)) } },
            }
        }
    }
}

fn curve<'r>(runs: &'r [History], of: &(String, String)) -> Markup {
    let Named { title, about, unit } = names::named(&of.1);
    let curve = |(colour, run): (usize, &'r History)| {
        Some(Curve { colour, points: run.curves.get(of)?, ..Curve::default() })
    };
    let curves: Vec<_> = runs.iter().enumerate().filter_map(curve).collect();
    let svg = chart::draw(&Axes { x: "steps", y: unit, ..Axes::default() }, &curves);
    figure(&title, about, svg, (runs.len() > 1).then(|| key(runs)))
}

/// A chart, its title, what it is, and which colour is which run.
pub(super) fn figure(title: &str, about: &str, svg: Option<String>, key: Option<Markup>) -> Markup {
    html! {
        figure {
            figcaption { (title) @if !about.is_empty() { " " small { (about) } } }
            @match svg {
                Some(svg) => (PreEscaped(svg)),
                None => p { "No value of it is finite." },
            }
            @if let Some(key) = key { (key) }
        }
    }
}

/// How evenly visual tokens are used: the share of each, commonest first.
fn codebook(runs: &[History]) -> Markup {
    let shares: Vec<Vec<(f64, f64)>> = runs.iter().map(|run| shares(&run.tokens)).collect();
    let of = |(colour, points)| Curve { colour, points, ..Curve::default() };
    let curves: Vec<_> = shares.iter().map(Vec::as_slice).enumerate().map(of).collect();
    let axes = Axes { x: "visual tokens, commonest first", y: "share of patches", ..Axes::default() };
    let about = "on images that were held out; tokens that do not occur are left out";
    html! {
        @if let Some(svg) = chart::draw(&axes, &curves) {
            h2 { "Use of the codebook" }
            div.charts {
                (figure("Share of each visual token", about, Some(svg), (runs.len() > 1).then(|| key(runs))))
            }
        }
    }
}

fn shares(counts: &[u64]) -> Vec<(f64, f64)> {
    let all = counts.iter().map(|&count| count as f64).sum::<f64>();
    counts.iter().enumerate().map(|(rank, &count)| ((rank + 1) as f64, count as f64 / all)).collect()
}

fn pictures(run: &History, named: bool) -> Markup {
    let (on_the_way, others): (Vec<_>, Vec<_>) =
        run.pictures.iter().partition(|picture| picture.after.is_some());
    html! {
        @for (heading, pictures) in [("While it learnt", on_the_way), ("Pictures", others)] {
            @if !pictures.is_empty() {
                h2 { (heading) @if named { " of " (run.name) } }
                div.pictures { @for shown in pictures { (picture(shown)) } }
            }
        }
    }
}

fn picture(picture: &Picture) -> Markup {
    let title = match picture.after {
        Some(step) => format!("after {step} steps"),
        None => picture.name.clone(),
    };
    html! {
        figure {
            figcaption { (title) }
            img alt=(format!("{} of the run", picture.name)) width=(picture.width) height=(picture.height) src=(picture.data);
        }
    }
}

/// Where runs computed, and their settings: of several those that differ.
fn settings(runs: &[History]) -> Markup {
    let all: BTreeSet<&String> = runs.iter().flat_map(|run| run.settings.keys()).collect();
    let row = |name: &&String| {
        let cells: Vec<_> = runs.iter().map(|run| run.setting(name).map(str::to_owned)).collect();
        ((*name).clone(), cells)
    };
    let of_machine = |name: &str| name.starts_with("device.");
    let (machine, rest): (Vec<_>, Vec<_>) = all.iter().map(row).partition(|(name, _)| of_machine(name));
    let (different, same): (Vec<_>, Vec<_>) = rest
        .into_iter()
        .partition(|(_, cells)| runs.len() == 1 || cells.iter().any(|cell| cell != &cells[0]));
    html! {
        h2 { "Machine" }
        (table(runs, &machine))
        @if runs.len() == 1 { h2 { "Settings" } } @else { h2 { "Settings that differ" } }
        @for run in runs { p.heading { @if runs.len() > 1 { (run.name) ": " } (run.heading.join(" — ")) } }
        @if different.is_empty() { p { "None." } } @else { (table(runs, &different)) }
        @if !same.is_empty() {
            details { summary { "Settings that are the same" } (table(runs, &same)) }
        }
    }
}
