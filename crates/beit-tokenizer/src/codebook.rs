//! How many visual tokens there are, and how much of an image is one: the same questions for every kind of tokenizer.

use crate::Error;

/// The visual tokens of a tokenizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Codebook {
    /// Channels of an image C.
    pub channels: usize,
    /// Number of visual tokens V.
    pub vocab: usize,
    /// Height and width in pixels of what becomes one token.
    pub sides: [usize; 2],
}

impl Codebook {
    /// Height and width of the grid of tokens of an image of this height and width.
    ///
    /// ```
    /// use beit_tokenizer::Codebook;
    /// let codebook = Codebook { channels: 3, vocab: 256, sides: [8, 5] };
    /// assert_eq!(codebook.grid([112, 100]), Ok([14, 20]));
    /// assert!(codebook.grid([112, 101]).is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// A side that is no whole number of tokens.
    pub fn grid(&self, image: [usize; 2]) -> Result<[usize; 2], Error> {
        for (side, multiple) in image.into_iter().zip(self.sides) {
            if side == 0 || !side.is_multiple_of(multiple) {
                return Err(Error::Side { side, multiple });
            }
        }
        Ok([image[0] / self.sides[0], image[1] / self.sides[1]])
    }

    /// Height and width of the image of a grid of tokens: the inverse of [`grid`](Self::grid).
    #[must_use]
    pub const fn image(&self, grid: [usize; 2]) -> [usize; 2] {
        [grid[0] * self.sides[0], grid[1] * self.sides[1]]
    }

    /// Whether these are visual tokens of whole images with this grid.
    ///
    /// # Errors
    ///
    /// Other numbers of codes, or a code outside the vocabulary.
    pub fn check_codes(&self, codes: &[u32], [h, w]: [usize; 2]) -> Result<(), Error> {
        let positions = h * w;
        if positions == 0 || !codes.len().is_multiple_of(positions) {
            return Err(Error::Codes { codes: codes.len(), positions });
        }
        match codes.iter().find(|&&code| code as usize >= self.vocab) {
            Some(&code) => Err(Error::Code { code, vocab: self.vocab }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_and_codes() {
        let codebook = Codebook { channels: 3, vocab: 16, sides: [4, 6] };
        assert_eq!(codebook.grid([28, 30]), Ok([7, 5]));
        assert_eq!(codebook.image([7, 5]), [28, 30]);
        assert_eq!(codebook.grid([30, 30]), Err(Error::Side { side: 30, multiple: 4 }));
        assert_eq!(codebook.grid([28, 0]), Err(Error::Side { side: 0, multiple: 6 }));
        assert_eq!(codebook.check_codes(&[0, 15], [1, 2]), Ok(()));
        assert_eq!(codebook.check_codes(&[0, 16], [1, 2]), Err(Error::Code { code: 16, vocab: 16 }));
        assert_eq!(codebook.check_codes(&[0; 3], [1, 2]), Err(Error::Codes { codes: 3, positions: 2 }));
    }
}
