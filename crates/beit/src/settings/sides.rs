use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Height and width in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "Written")]
pub struct Sides(pub [usize; 2]);

/// Files have a list of both, or the side of a square.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a side in pixels, or [HEIGHT, WIDTH]")]
enum Written {
    Both([usize; 2]),
    Square(usize),
}

impl From<Written> for Sides {
    fn from(written: Written) -> Self {
        match written {
            Written::Both(sides) => Self(sides),
            Written::Square(side) => Self([side; 2]),
        }
    }
}

/// No picture that can be decoded has longer sides.
const MOST: usize = 1 << 16;

/// `224`, or `HEIGHTxWIDTH`.
impl FromStr for Sides {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let side = |text: &str| match text.parse::<usize>() {
            Ok(side @ ..=MOST) => Ok(side),
            Ok(side) => Err(format!("expected at most {MOST} pixels, found {side}")),
            Err(_) => Err(format!("expected pixels or HEIGHTxWIDTH, found {text}")),
        };
        match text.split_once('x') {
            Some((height, width)) => Ok(Self([side(height)?, side(width)?])),
            None => side(text).map(|side| Self([side; 2])),
        }
    }
}

impl From<usize> for Sides {
    fn from(side: usize) -> Self {
        Self([side; 2])
    }
}

impl From<[usize; 2]> for Sides {
    fn from(sides: [usize; 2]) -> Self {
        Self(sides)
    }
}
