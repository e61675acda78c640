use crate::error::{Result, setting};
use std::str::FromStr;

/// Points of an image: `[y, x]` each, from 0 at the top left to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Points(pub Vec<[f64; 2]>);

/// `y,x`, several with `;` between them.
impl FromStr for Points {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |found: &str| format!("expected y,x from 0 to 1, with ; between points, found {found}");
        let number = |text: &str| text.trim().parse().ok().filter(|share| (0.0..=1.0).contains(share));
        let point = |text: &str| {
            let (y, x) = text.split_once(',')?;
            Some([number(y)?, number(x)?])
        };
        text.split(';').map(|text| point(text).ok_or_else(|| wrong(text))).collect::<Result<_, _>>().map(Self)
    }
}

/// Where attention is looked at.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct PointSettings {
    /// Points whose patches are the queries: y,x;y,x;… from 0 at the top left to 1
    #[cfg_attr(feature = "clap", arg(long, value_name = "Y,X;…"))]
    pub points: Option<Points>,
    /// Instead of --points: N x N points at even distances; 2 where neither is given
    #[cfg_attr(feature = "clap", arg(long, value_name = "N", conflicts_with = "points"))]
    pub grid: Option<usize>,
}

impl PointSettings {
    /// Points where nothing is said: two rows of two.
    const USUAL: usize = 2;

    /// The points, and the patch that each lies in, of a `[rows, cols]` grid of patches.
    pub(crate) fn patches(&self, [rows, cols]: [usize; 2]) -> Result<Vec<([f64; 2], usize)>> {
        let most = rows.min(cols);
        let points = match (&self.points, self.grid.unwrap_or(Self::USUAL.min(most))) {
            (Some(Points(points)), _) => points.clone(),
            (None, side) if (1..=most).contains(&side) => {
                let middle = |i: usize| (i as f64 + 0.5) / side as f64;
                (0..side * side).map(|i| [middle(i / side), middle(i % side)]).collect()
            }
            (None, side) => {
                setting!(
                    "--grid {side}: expected 1 to {most} points a side, the model has {rows}x{cols} patches"
                )
            }
        };
        let place = |share: f64, extent: usize| ((share * extent as f64) as usize).min(extent - 1);
        Ok(points.into_iter().map(|[y, x]| ([y, x], place(y, rows) * cols + place(x, cols))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_shares_of_both_sides() {
        let points: Points = "0.5,0.25; 1,0".parse().unwrap();
        assert_eq!(points, Points(vec![[0.5, 0.25], [1.0, 0.0]]));
        for text in ["", "0.5", "0.5,", "0.5,1.1", "0,NaN", "-0.1,0", "0,0;", "1,2,3"] {
            let message = text.parse::<Points>().unwrap_err();
            assert!(message.starts_with("expected y,x from 0 to 1"), "{text}: {message}");
        }
    }

    #[test]
    fn every_point_lies_in_a_patch() {
        let patches = |points: PointSettings, grid| {
            points.patches(grid).map(|found| found.into_iter().map(|(_, patch)| patch).collect::<Vec<_>>())
        };
        let named = |text: &str| PointSettings { points: text.parse().ok(), grid: None };
        assert_eq!(patches(named("0,0;0.49,0.99;1,1;0.5,0"), [2, 3]).unwrap(), [0, 2, 5, 3]);
        assert_eq!(patches(PointSettings::default(), [7, 7]).unwrap(), [8, 12, 36, 40]);
        assert_eq!(patches(PointSettings::default(), [1, 4]).unwrap(), [2]);
        let grid = |side| PointSettings { points: None, grid: Some(side) };
        assert_eq!(patches(grid(3), [3, 3]).unwrap(), (0..9).collect::<Vec<_>>());
        for side in [0, 4] {
            let message = patches(grid(side), [3, 5]).unwrap_err().to_string();
            assert!(message.starts_with(&format!("--grid {side}: expected 1 to 3")), "{message}");
        }
    }
}
