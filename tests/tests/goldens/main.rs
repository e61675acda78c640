//! The goldens, on the CPU in both precisions and on a GPU: one program, since each would compile the same kernels.

mod beit3;
mod classifier;
mod layout;
mod mim;
mod segmentation_ops;
mod segmenter;
mod timm;
mod tokenizer;
mod training;
