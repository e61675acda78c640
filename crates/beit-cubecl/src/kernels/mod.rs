//! One file for each operation or family: formula, kernel forward, kernel backward, launches.

pub(crate) mod elementwise;
pub(crate) mod attention;
pub(crate) mod conv;
pub(crate) mod cross_entropy;
pub(crate) mod embed;
pub(crate) mod layer_norm;
pub(crate) mod linear;
pub(crate) mod logit_laplace;
pub(crate) mod move_rows;
pub(crate) mod optimiser;
pub(crate) mod pool;
pub(crate) mod posterior;
pub(crate) mod residual;
