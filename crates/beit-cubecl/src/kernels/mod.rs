//! One file for each operation or family: formula, kernel forward, kernel backward, launches.
//!
//! # Words
//!
//! Comments use the words of CUDA, and code those of CubeCL where it has no choice:
//!
//! ```text
//! in comments       in CubeCL's names               on NVIDIA devices
//! thread            unit    UNIT_POS                one of the lanes of a warp
//! warp              plane   PLANE_DIM, plane_sum    32 threads (8 on Mesa's renderer)
//! block             cube    CUBE_POS, CUBE_DIM      up to 1024 threads with one shared memory
//! grid              CubeCount                       the blocks of a launch
//! shared memory     SharedMemory                    48 KiB; 227 KiB on Hopper when asked for
//! fragment          cmma::Matrix                    16 x 16 elements in the registers of a warp
//! ```
//!
//! A *vector* is what a thread loads at once, 1, 2, 4 or 8 elements: `Vector<F, N>`. An argument marked `#[comptime]` is known
//! when the kernel is compiled, and makes another variant of it.
//!
//! # Three kinds of tiling
//!
//! ```text
//! elementwise            thread i takes vectors i, i + G, i + 2G, ... for G threads of the grid
//!                        (elementwise, residual, embed, pool, maps, patches, resample, batch_norm, move_rows,
//!                        optimiser)
//!
//! along rows             a warp, or for long rows a block, takes one row
//!                        (rows, layer_norm, residual_norm, sum_norm, cross_entropy, posterior)
//!
//! in two dimensions      a block takes a tile of the result
//!                        (product and hopper: matrix products; attention; columns and batch_sums: sums over
//!                        rows)
//! ```
//!
//! The picture of its tiling stands at the top of each file.

pub(crate) mod attention;
mod batch_norm;
mod batch_sums;
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
mod maps;
pub(crate) mod move_rows;
pub(crate) mod multiply;
mod nan;
pub(crate) mod native;
mod operand;
pub(crate) mod optimiser;
mod patches;
pub(crate) mod pool;
pub(crate) mod posterior;
pub(crate) mod product;
mod product_variant;
mod resample;
pub(crate) mod residual;
pub(crate) mod residual_norm;
pub(crate) mod rows;
pub(crate) mod squared_error;
mod sum_norm;
pub(crate) mod sums;
pub(crate) mod tile;
