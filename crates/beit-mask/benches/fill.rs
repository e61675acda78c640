//! Time of one 14 x 14 mask. The released generator, in Python, takes about 85 microseconds.

use beit_mask::{Config, Grid, Masker, Strategy};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn main() {
    divan::main();
}

const STRATEGIES: [Strategy; 4] =
    [Strategy::BlockWise, Strategy::BlockWiseExact, Strategy::PaperBlockWise, Strategy::Random];

fn bench(bencher: divan::Bencher<'_, '_>, config: Config) {
    let masker = Masker::new(config).expect("the parameters are valid");
    let mut mask = vec![false; masker.cells()];
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    bencher.bench_local(|| masker.fill(&mut rng, &mut mask));
}

#[divan::bench(args = STRATEGIES, sample_count = 1000, sample_size = 100)]
fn grid_14(bencher: divan::Bencher<'_, '_>, strategy: Strategy) {
    bench(bencher, Config { strategy, ..Config::official() });
}

#[divan::bench(args = STRATEGIES, sample_count = 1000, sample_size = 100)]
fn grid_7(bencher: divan::Bencher<'_, '_>, strategy: Strategy) {
    bench(bencher, Config { strategy, ..Config::scaled(Grid { rows: 7, cols: 7 }, 0.4) });
}
