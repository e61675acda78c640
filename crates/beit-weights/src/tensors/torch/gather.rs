//! From strides to row-major order.

use super::container::Placed;
use super::tensor::width;
use safetensors::Dtype;

/// The elements of a tensor in row-major order, from the bytes between its first and its last one.
pub(super) fn row_major(tensor: &Placed, window: Vec<u8>) -> Vec<u8> {
    let width = width(tensor.dtype);
    let mut bytes = match is_row_major(&tensor.shape, &tensor.stride) {
        true => window,
        false => gathered(&window, width, &tensor.shape, &tensor.stride),
    };
    if tensor.dtype == Dtype::BOOL {
        bytes.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
    }
    bytes
}

/// Strides of dimensions with one element say nothing, and a tensor without elements has no order.
fn is_row_major(shape: &[usize], stride: &[usize]) -> bool {
    let mut expected = 1;
    let in_order = |(&extent, &step): (&usize, &usize)| {
        let fits = extent == 1 || step == expected;
        expected *= extent;
        fits
    };
    shape.contains(&0) || shape.iter().zip(stride).rev().all(in_order)
}

/// ```text
/// y[i0, i1, ...] = x[i0 * stride0 + i1 * stride1 + ...]
/// ```
fn gathered(x: &[u8], width: usize, shape: &[usize], stride: &[usize]) -> Vec<u8> {
    let elements: usize = shape.iter().product();
    let mut y = Vec::with_capacity(elements * width);
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    for _ in 0..elements {
        y.extend_from_slice(&x[at * width..][..width]);
        // Counts the index up, the last dimension fastest, and moves the place along.
        for d in (0..shape.len()).rev() {
            index[d] += 1;
            at += stride[d];
            if index[d] < shape[d] {
                break;
            }
            at -= stride[d] * shape[d];
            index[d] = 0;
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_are_followed() {
        let x: Vec<u8> = (0..12).collect();
        assert_eq!(gathered(&x, 1, &[4, 3], &[1, 4]), [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
        assert_eq!(gathered(&x, 2, &[2, 2], &[3, 2]), [0, 1, 4, 5, 6, 7, 10, 11]);
        assert_eq!(gathered(&x, 1, &[2, 3], &[0, 1]), [0, 1, 2, 0, 1, 2]);
        assert_eq!(gathered(&x, 4, &[], &[]), [0, 1, 2, 3]);
    }

    #[test]
    fn extents_of_one_have_no_order() {
        assert!(is_row_major(&[1, 3, 1], &[77, 1, 5]));
        assert!(is_row_major(&[0, 3], &[5, 5]));
        assert!(is_row_major(&[], &[]));
        assert!(!is_row_major(&[3, 2], &[1, 3]));
    }
}
