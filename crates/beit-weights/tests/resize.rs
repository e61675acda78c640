//! Resized position parameters against those of the other implementations (`tests/peers/resize_tables.py`).

use beit_weights::{PositionResize, TableResize, TensorFile, resize_positions, resize_relative_table};
use std::path::Path;

/// Greatest difference from a golden, relative to its greatest magnitude.
///
/// Goldens and results are both float64 inside and rounded once to float32, which makes a difference of 6e-8. The peers' own
/// float32 is off by up to 2e-6, as the script prints. The methods are off from each other by 6e-2 and more.
const ONCE_ROUNDED: f64 = 1e-6;

type Window = [usize; 2];

/// Resizes every source of a golden file: `resize(values, columns, from, to)`.
fn check(golden: &str, cases: usize, resize: impl Fn(&[f32], usize, Window, Window) -> Vec<f32>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/resize");
    let file = TensorFile::open(folder.join(format!("{golden}.safetensors"))).unwrap();
    let names = file.names();
    let case_names: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix(".from")).collect();
    assert_eq!(case_names.len(), cases, "{golden}: {case_names:?}");
    for name in case_names {
        let (from, to) = windows(name);
        let columns = *file.shape(&format!("{name}.from")).unwrap().last().unwrap();
        let source = file.floats(&format!("{name}.from")).unwrap();
        let want = file.floats(&format!("{name}.to")).unwrap();
        compare(&format!("{golden} {name}"), &resize(&source, columns, from, to), &want);
    }
}

/// `14x14-24x20` is `([14, 14], [24, 20])`.
fn windows(name: &str) -> (Window, Window) {
    let number = |x: &str| x.parse().unwrap();
    let window = |x: &str| x.split_once('x').map(|(height, width)| [number(height), number(width)]).unwrap();
    name.split_once('-').map(|(from, to)| (window(from), window(to))).unwrap()
}

#[expect(clippy::print_stdout, reason = "the report of a test")]
fn compare(name: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{name}");
    let scale = want.iter().fold(f64::MIN_POSITIVE, |max, &x| max.max(f64::from(x).abs()));
    let errors = got.iter().zip(want).map(|(&got, &want)| (f64::from(got) - f64::from(want)).abs() / scale);
    let (at, worst) = errors.enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b)).unwrap();
    println!("{name}: {worst:.1e}");
    let (got, want) = (got[at], want[at]);
    assert!(
        worst <= ONCE_ROUNDED,
        "{name}[{at}]: got {got:e}, want {want:e}, relative {worst:.1e} > {ONCE_ROUNDED:.0e}"
    );
}

#[test]
fn geometric_tables() {
    check("geometric", 10, |table, heads, from, to| {
        resize_relative_table(table, heads, from, to, TableResize::Geometric)
    });
}

#[test]
fn tables_of_timm() {
    check("timm", 7, |table, heads, from, to| {
        resize_relative_table(table, heads, from, to, TableResize::Timm)
    });
}

#[test]
fn tables_of_transformers() {
    check("transformers", 7, |table, heads, from, to| {
        resize_relative_table(table, heads, from, to, TableResize::Transformers)
    });
}

#[test]
fn bicubic_positions() {
    check("bicubic", 5, |pos, width, from, to| {
        resize_positions(pos, width, from, to, PositionResize::Bicubic)
    });
}

#[test]
fn antialiased_positions() {
    check("antialiased", 5, |pos, width, from, to| {
        resize_positions(pos, width, from, to, PositionResize::Antialiased)
    });
}
