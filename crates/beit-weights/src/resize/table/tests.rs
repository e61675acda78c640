//! Vectors of the released code, and what holds for every method.

use super::*;

const METHODS: [TableResize; 3] = [TableResize::Geometric, TableResize::Timm, TableResize::Transformers];

/// The windows that a table of [14, 14] or [3, 5] may have to serve, and those that differ in one axis only.
const WINDOWS: [([usize; 2], [usize; 2]); 7] = [
    ([14, 14], [24, 24]),
    ([14, 14], [7, 7]),
    ([14, 14], [14, 20]),
    ([3, 5], [5, 3]),
    ([3, 5], [3, 8]),
    ([1, 2], [4, 4]),
    ([2, 1], [1, 3]),
];

/// A table of one head whose offset [i, j], counted from the upper left, has the value `f(i, j)`; then -1, -2, -3.
fn table(window: [usize; 2], f: impl Fn(f64, f64) -> f64) -> Vec<f32> {
    let [height, width] = offsets(window);
    let grid = (0..height * width).map(|i| f((i / width) as f64, (i % width) as f64) as f32);
    grid.chain([-1.0, -2.0, -3.0]).collect()
}

fn wave(i: f64, j: f64) -> f64 {
    (0.3 * i).sin() + 0.5 * (0.2 * j).cos() + 0.01 * i * j
}

/// Values that the released code gives for [`wave`], to six digits: new window, offset [i, j], value.
const RELEASED: [(usize, [usize; 2], f64); 12] = [
    (24, [0, 0], 0.5),
    (24, [0, 1], 0.498799),
    (24, [1, 0], 0.602798),
    (24, [5, 40], 0.979131),
    (24, [22, 22], 0.628783),
    (24, [23, 23], 0.573789),
    (24, [23, 24], 0.661123),
    (24, [24, 22], 0.439727),
    (24, [46, 46], 7.992802),
    (24, [46, 0], 1.498543),
    (32, [1, 2], 0.561014),
    (40, [1, 2], 0.542262),
];

/// Half a unit of the last digit of [`RELEASED`], and float32's rounding.
const DIGITS: f64 = 6e-7;

#[test]
fn values_of_the_released_code() {
    let source = table([14, 14], wave);
    for (window, [i, j], want) in RELEASED {
        let got = resize_relative_table(&source, 1, [14, 14], [window; 2], TableResize::Geometric);
        let got = f64::from(got[i * (2 * window - 1) + j]);
        assert!((got - want).abs() <= DIGITS, "{window} [{i}, {j}]: got {got}, want {want}");
    }
}

#[test]
fn small_offsets_keep_what_was_learned() {
    let source = table([14, 14], wave);
    for method in [TableResize::Geometric, TableResize::Timm] {
        for to in [[24, 24], [32, 24], [40, 17], [7, 9]] {
            let got = resize_relative_table(&source, 1, [14, 14], to, method);
            let width = 2 * to[1] - 1;
            for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))) {
                let new = got[(to[0] - 2 + i) * width + to[1] - 2 + j];
                assert_eq!(new, source[(12 + i) * 27 + 12 + j], "{method:?} to {to:?}, [{i}, {j}]");
            }
        }
    }
}

#[test]
fn equal_windows_change_nothing() {
    for method in METHODS {
        for window in [[14, 14], [3, 5], [1, 1]] {
            let source = table(window, wave);
            assert_eq!(resize_relative_table(&source, 1, window, window, method), source);
        }
    }
}

#[test]
fn an_equal_axis_changes_nothing() {
    // Rows are equal, so that only the axis of equal length could show. Timm's does, on purpose.
    let source = table([3, 5], |_, j| wave(0.0, j));
    for method in [TableResize::Geometric, TableResize::Transformers] {
        let got = resize_relative_table(&source, 1, [3, 5], [6, 5], method);
        for (i, row) in got[..11 * 9].chunks_exact(9).enumerate() {
            let same = row.iter().zip(&source).all(|(got, want)| (got - want).abs() <= f32::EPSILON);
            assert!(same, "{method:?}, row {i}: {row:?}");
        }
    }
}

#[test]
fn the_class_token_keeps_its_rows() {
    for method in METHODS {
        for (from, to) in WINDOWS {
            let got = resize_relative_table(&table(from, wave), 1, from, to, method);
            let [height, width] = offsets(to);
            assert_eq!(got.len(), height * width + CLS_ROWS, "{method:?} {from:?} -> {to:?}");
            assert_eq!(got[height * width..], [-1.0, -2.0, -3.0], "{method:?} {from:?} -> {to:?}");
        }
    }
}

#[test]
fn constant_tables_stay_constant() {
    for method in METHODS {
        for (from, to) in WINDOWS {
            let got = resize_relative_table(&table(from, |_, _| 0.3), 1, from, to, method);
            let constant = got[..got.len() - CLS_ROWS].iter().all(|x| (x - 0.3).abs() <= f32::EPSILON);
            assert!(constant, "{method:?} {from:?} -> {to:?}: {got:?}");
        }
    }
}

#[test]
fn heads_do_not_mix() {
    let (one, other) = (table([4, 3], wave), table([4, 3], |i, j| wave(j, i) - 2.0));
    let both: Vec<f32> = one.iter().zip(&other).flat_map(|(&one, &other)| [one, other]).collect();
    for method in METHODS {
        let resized = |table: &[f32], heads| resize_relative_table(table, heads, [4, 3], [6, 7], method);
        let got = resized(&both, 2);
        for (head, table) in [one.as_slice(), &other].into_iter().enumerate() {
            let got: Vec<f32> = got.iter().skip(head).step_by(2).copied().collect();
            assert_eq!(got, resized(table, 1), "{method:?}, head {head}");
        }
    }
}

#[test]
fn height_and_width_are_not_swapped() {
    let transposed = |x: &[f32], [height, width]: [usize; 2]| -> Vec<f32> {
        let grid = (0..height * width).map(|i| x[i % height * width + i / height]);
        grid.chain(x[height * width..].iter().copied()).collect()
    };
    let (from, to) = ([3, 5], [7, 4]);
    let source = table(from, wave);
    for method in METHODS {
        let got = resize_relative_table(&source, 1, from, to, method);
        let turned = transposed(&source, offsets(from));
        let turned = resize_relative_table(&turned, 1, [5, 3], [4, 7], method);
        let want = transposed(&turned, offsets([4, 7]));
        let close = got.iter().zip(&want).all(|(got, want)| (got - want).abs() <= f32::EPSILON);
        assert!(close, "{method:?}: got {got:?}, want {want:?}");
    }
}

#[test]
#[should_panic(expected = "values of [5, 5] offsets, 2 heads")]
fn a_wrong_number_of_values() {
    let _ = resize_relative_table(&[0.0; 28], 2, [3, 3], [4, 4], TableResize::Geometric);
}
