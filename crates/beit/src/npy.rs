//! The array files of NumPy, format version 1.0.

/// First bytes of the format, and its version.
const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
/// The header ends at a multiple of this.
const ALIGNMENT: usize = 64;

/// A file with an array of single precision, row-major.
pub(crate) fn floats(shape: &[usize], values: &[f32]) -> Vec<u8> {
    debug_assert_eq!(shape.iter().product::<usize>(), values.len());
    let extents: Vec<String> = shape.iter().map(|extent| format!("{extent}, ")).collect();
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", extents.concat().trim_end());
    let end = (MAGIC.len() + 2 + header.len() + 1).next_multiple_of(ALIGNMENT);
    let length = end - MAGIC.len() - 2;
    header.push_str(&" ".repeat(length - 1 - header.len()));
    header.push('\n');
    let mut bytes = [MAGIC, &(length as u16).to_le_bytes(), header.as_bytes()].concat();
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_that_numpy_reads() {
        let bytes = floats(&[2, 1, 3], &[0.0, 1.0, -2.0, 0.5, 1e9, 3.0]);
        let header = &bytes[10..128];
        assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00\x76\x00");
        let text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1, 3,), }";
        assert!(header.starts_with(text), "{}", String::from_utf8_lossy(header));
        assert!(header[text.len()..117].iter().all(|&byte| byte == b' ') && header[117] == b'\n');
        assert_eq!(bytes.len(), 128 + 6 * 4);
        assert_eq!(bytes[132..136], 1.0_f32.to_le_bytes());
        assert!(
            floats(&[7], &[0.0; 7])[10..]
                .starts_with(b"{'descr': '<f4', 'fortran_order': False, 'shape': (7,), }")
        );
    }
}
