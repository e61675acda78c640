//! Checkpoints from a hub on the loopback.
#![cfg(feature = "hub")]

mod bounds;
mod broken;
mod failures;
mod fetching;
mod model;
mod offline;
mod server;
mod waiting;
