//! What holds for any parameters that are accepted, and that the others are refused with a reason.

use beit_mask::{BlockShape, Config, Error, Grid, Masker, Strategy};
use proptest::prelude::*;
use proptest::strategy::Strategy as _;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn any_config() -> impl proptest::strategy::Strategy<Value = Config> {
    let strategy = prop_oneof![
        Just(Strategy::BlockWise),
        Just(Strategy::BlockWiseExact),
        Just(Strategy::PaperBlockWise),
        Just(Strategy::Random),
    ];
    let block = (0_usize..30, proptest::option::of(0_usize..60), 0.01_f64..5.0, 0.5_f64..20.0).prop_map(
        |(min_cells, max_cells, low, factor)| BlockShape {
            min_cells,
            max_cells,
            aspect: [low, low * factor],
        },
    );
    (0_usize..20, 0_usize..20, 0_usize..200, strategy, block).prop_map(
        |(rows, cols, target, strategy, block)| Config { grid: Grid { rows, cols }, target, strategy, block },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn accepted_parameters_give_valid_masks(config in any_config(), seed: u64) {
        let Ok(masker) = Masker::new(config) else { return Ok(()) };
        let Grid { rows, cols } = config.grid;
        let mut mask = vec![true; masker.cells()];
        let mut blocks = Vec::new();
        let count = masker.fill_with(&mut ChaCha8Rng::seed_from_u64(seed), &mut mask, |rect| blocks.push(rect));

        prop_assert_eq!(count, mask.iter().filter(|&&cell| cell).count());
        prop_assert!(0 < count && count < rows * cols);
        match config.strategy {
            Strategy::BlockWise => prop_assert!(count <= config.target),
            Strategy::PaperBlockWise => prop_assert!(count > config.target),
            _ => prop_assert_eq!(count, config.target),
        }
        for rect in blocks {
            prop_assert!(rect.top + rect.height <= rows && rect.left + rect.width <= cols);
            if config.strategy != Strategy::PaperBlockWise {
                prop_assert!(rect.height < rows && rect.width < cols);
            }
        }
    }

    #[test]
    fn a_mask_is_a_function_of_the_generator(seed: u64) {
        let masker = Masker::new(Config::official()).unwrap();
        let draw = || {
            let mut mask = [false; 196];
            masker.fill(&mut ChaCha8Rng::seed_from_u64(seed), &mut mask);
            mask
        };
        prop_assert_eq!(draw(), draw());
    }

    #[test]
    fn scaled_parameters_are_accepted_on_squarish_grids(rows in 4_usize..40, wider in 0_usize..10, ratio in 0.1_f64..0.7) {
        let grid = Grid { rows, cols: rows + wider };
        prop_assert!(Masker::new(Config::scaled(grid, ratio)).is_ok());
    }
}

#[test]
fn scaling_follows_the_documented_rule() {
    let scaled = |side, ratio| Config::scaled(Grid { rows: side, cols: side }, ratio);
    assert_eq!(scaled(14, 0.4), Config::official());
    assert_eq!((scaled(7, 0.4).target, scaled(7, 0.4).block.min_cells), (19, 4));
    assert_eq!((scaled(24, 0.4).target, scaled(24, 0.4).block.min_cells), (220, 47));
    assert_eq!(scaled(14, 0.2).target, 38);
    assert_eq!(scaled(14, f64::NAN).target, 0);
}

#[test]
fn impossible_parameters_are_refused_with_a_reason() {
    let good = Config::official();
    let grid = |rows, cols| Config { grid: Grid { rows, cols }, ..good };
    let block =
        |min_cells, max_cells, aspect| Config { block: BlockShape { min_cells, max_cells, aspect }, ..good };
    let aspect = good.block.aspect;
    let rows = [
        (grid(0, 14), "expected a grid of at least 1 x 1 cells that fits memory, found 0 x 14"),
        (grid(usize::MAX, 2), "fits memory"),
        (Config { target: 0, ..good }, "expected at least 1 masked cell, found a target of 0"),
        (
            Config { target: 196, ..good },
            "expected a target of at most 195 cells so that some stay visible, found 196",
        ),
        (Config { target: 195, strategy: Strategy::PaperBlockWise, ..good }, "at most 194"),
        (block(0, None, aspect), "expected blocks of at least 1 cell, found a minimum of 0"),
        (block(76, None, aspect), "expected a smallest block of at most the 75 cells to mask, found 76"),
        (
            block(16, Some(15), aspect),
            "expected a largest block of at least 16 cells (the smallest), found 15",
        ),
        (block(16, None, [2.0, 1.0]), "found 2 to 1"),
        (block(16, None, [0.0, 1.0]), "0 < low <= high"),
        (block(16, None, [f64::NAN, 1.0]), "0 < low <= high"),
        (block(16, None, [1.0, f64::INFINITY]), "0 < low <= high"),
        (block(16, None, [20.0, 30.0]), "found that none fits with at least 16 cells"),
        (Config { target: 75, ..grid(1, 196) }, "expected some block smaller than the 1 x 196 grid"),
    ];
    for (config, expected) in rows {
        let message = Masker::new(config).expect_err(expected).to_string();
        assert!(message.contains(expected), "{config:?}: {message}");
    }
    assert!(matches!(Masker::new(grid(1, 1)), Err(Error::EverythingMasked { target: 75, most: 0 })));
}

#[test]
fn random_masks_choose_every_cell_equally_often() {
    let masker = Masker::new(Config { strategy: Strategy::Random, ..Config::official() }).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let (mut mask, mut sums) = ([false; 196], [0_u32; 196]);
    for _ in 0..20_000 {
        masker.fill(&mut rng, &mut mask);
        sums.iter_mut().zip(mask).for_each(|(sum, cell)| *sum += u32::from(cell));
    }
    // Expected 7653.1 with deviation sqrt(20,000 · p (1 - p)) = 68.7; five of them cover 196 cells safely.
    for (cell, &sum) in sums.iter().enumerate() {
        assert!((f64::from(sum) - 20_000.0 * 75.0 / 196.0).abs() < 5.0 * 68.7, "cell {cell}: {sum}");
    }
}

#[test]
#[should_panic(expected = "mask length does not match the grid")]
fn a_mask_of_the_wrong_length_is_a_bug() {
    let masker = Masker::new(Config::official()).unwrap();
    masker.fill(&mut ChaCha8Rng::seed_from_u64(0), &mut [false; 195]);
}
