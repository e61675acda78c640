//! Everything that this crate is tested for but MPI, in one program: each one more would be linked and optimised again.

mod common;
mod device_sums;
mod evaluation;
mod events;
mod hooks;
mod loops;
mod masked;
mod mixing;
mod noise;
mod pixels;
mod ranks;
mod spikes;
mod state;
mod tokenization;
mod trained;
