//! Goldens and end-to-end runs; the tests are in `tests/`.
