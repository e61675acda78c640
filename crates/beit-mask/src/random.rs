//! Cells drawn uniformly, without replacement.

use rand::Rng;

use crate::draw::below;

/// Overwrites a mask with a new one of exactly `count` cells (Floyd's sampling: `count` draws, no other memory).
pub(crate) fn fill<R: Rng + ?Sized>(rng: &mut R, mask: &mut [bool], count: usize) {
    mask.fill(false);
    for last in mask.len() - count..mask.len() {
        let cell = below(rng, last + 1);
        let chosen = if mask[cell] { last } else { cell };
        mask[chosen] = true;
    }
}

/// Masks `missing` more cells among those not masked yet (selection sampling: one draw per free cell).
pub(crate) fn top_up<R: Rng + ?Sized>(rng: &mut R, mask: &mut [bool], mut missing: usize) {
    let mut free = mask.iter().filter(|&&cell| !cell).count();
    for cell in mask.iter_mut().filter(|cell| !**cell) {
        if missing == 0 {
            return;
        }
        if below(rng, free) < missing {
            *cell = true;
            missing -= 1;
        }
        free -= 1;
    }
}
