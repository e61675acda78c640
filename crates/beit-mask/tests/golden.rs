//! Masks equal, bit for bit, those of an independent Python implementation fed with the same random words
//! (tests/peers/mask_golden.py).

use core::convert::Infallible;

use beit_mask::{BlockShape, Config, Grid, Masker, Strategy};
use rand::TryRng;

/// SplitMix64, as in the Python script.
struct SplitMix64(u64);

impl TryRng for SplitMix64 {
    type Error = Infallible;

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(z ^ (z >> 31))
    }

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("a draw takes one 64-bit word")
    }

    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Infallible> {
        unreachable!("a draw takes one 64-bit word")
    }
}

/// The hexadecimal number whose bits, most significant first, are the cells of a mask.
fn hexadecimal(mask: &[bool]) -> String {
    let padding = vec![false; mask.len().next_multiple_of(4) - mask.len()];
    let bits = [&padding, mask].concat();
    let digits = bits.chunks(4).map(|four| four.iter().fold(0, |digit, &bit| 2 * digit + u32::from(bit)));
    let text: String = digits.map(|digit| char::from_digit(digit, 16).unwrap()).collect();
    text.trim_start_matches('0').to_owned()
}

fn parse(row: &[&str]) -> (Config, u64) {
    let whole = |i: usize| row[i].parse::<usize>().unwrap();
    let real = |i: usize| row[i].parse::<f64>().unwrap();
    let block =
        BlockShape { min_cells: whole(3), max_cells: row[4].parse().ok(), aspect: [real(5), real(6)] };
    let grid = Grid { rows: whole(0), cols: whole(1) };
    (Config { grid, target: whole(2), strategy: Strategy::BlockWise, block }, row[7].parse().unwrap())
}

fn draw(config: Config, seed: u64) -> (usize, String) {
    let masker = Masker::new(config).unwrap();
    let mut mask = vec![true; masker.cells()];
    let mut blocks = 0;
    let count = masker.fill_with(&mut SplitMix64(seed), &mut mask, |_| blocks += 1);
    assert_eq!(count, mask.iter().filter(|&&cell| cell).count());
    (blocks, hexadecimal(&mask))
}

#[test]
fn equals_the_python_generator_bit_for_bit() {
    let rows = include_str!("goldens/block_wise.csv").lines().skip(1);
    for line in rows.clone() {
        let row: Vec<&str> = line.split(',').collect();
        let (config, seed) = parse(&row);
        assert_eq!(
            draw(config, seed),
            (row[8].parse().unwrap(), row[9].to_owned()),
            "{config:?}, seed {seed}"
        );
        let exact = Config { strategy: Strategy::BlockWiseExact, ..config };
        assert_eq!(draw(exact, seed).1, row[10], "{exact:?}, seed {seed}");
    }
    assert_eq!(rows.count(), 120);
}
