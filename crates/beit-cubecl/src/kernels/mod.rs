//! One file for each operation or family: formula, kernel forward, kernel backward, launches.

pub(crate) mod attention;
mod bias;
pub(crate) mod columns;
pub(crate) mod conv;
pub(crate) mod cross_entropy;
pub(crate) mod elementwise;
pub(crate) mod embed;
pub(crate) mod gumbel;
mod hopper;
pub(crate) mod layer_norm;
pub(crate) mod linear;
pub(crate) mod logit_laplace;
pub(crate) mod move_rows;
pub(crate) mod multiply;
mod native;
pub(crate) mod optimiser;
pub(crate) mod pool;
pub(crate) mod posterior;
pub(crate) mod product;
pub(crate) mod residual;
pub(crate) mod residual_norm;
pub(crate) mod rows;
pub(crate) mod sums;
pub(crate) mod tile;
