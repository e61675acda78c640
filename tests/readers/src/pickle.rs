//! PyTorch's containers and the pickles in them.

pub(crate) fn run(bytes: &[u8]) {
    crate::read_everything(&crate::file("weights.pth", bytes));
}
