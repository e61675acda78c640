//! What a file is that is not what it should be.

/// What a file that begins so is, where that explains why nobody can read it as weights, as JSON or as a picture, and what to do: the
/// rest of a sentence that begins with "it is".
///
/// ```
/// let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
/// assert!(beit_data::told_by(pointer).unwrap().starts_with("a Git LFS pointer"));
/// assert_eq!(beit_data::told_by(&[7, 0, 200]), None);
/// ```
#[must_use]
pub fn told_by(beginning: &[u8]) -> Option<&'static str> {
    let signatures: [(&[u8], &str); 10] = [
        (b"version https://git-lfs", LFS),
        (b"\x1f\x8b", "compressed by gzip; unpack it first"),
        (b"BZh", "compressed by bzip2; unpack it first"),
        (b"\xfd7zXZ\0", "compressed by xz; unpack it first"),
        (b"\x28\xb5\x2f\xfd", "compressed by zstd; unpack it first"),
        (b"7z\xbc\xaf", "a 7z archive; unpack it first"),
        (b"\x89HDF\r\n", "an HDF5 file, as Keras writes it"),
        (b"\x93NUMPY", "a NumPy array"),
        (b"GGUF", "a GGUF file, as llama.cpp reads it"),
        (b"%PDF-", "a PDF document"),
    ];
    if let Some((_, is)) = signatures.iter().find(|(signature, _)| beginning.starts_with(signature)) {
        return Some(is);
    }
    if beginning.get(257..262) == Some(b"ustar") {
        return Some("a tar archive; unpack it first");
    }
    text(beginning)
}

const LFS: &str = "a Git LFS pointer, which stands for a file that was not fetched; fetch it with `git lfs pull`, or download the file itself";

/// What a text is.
fn text(beginning: &[u8]) -> Option<&'static str> {
    // The end may be in the middle of a letter.
    let text = match std::str::from_utf8(beginning) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&beginning[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let printable = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\r' | '\t' | '\u{c}');
    if text.is_empty() || !text.chars().all(printable) {
        return None;
    }
    let begins = |with: &str| text.get(..with.len()).is_some_and(|own| own.eq_ignore_ascii_case(with));
    Some(if begins("<!doctype html") || begins("<html") || begins("<head") {
        "a web page (HTML), as a download gives that was refused or went to the wrong address; download the file itself"
    } else if begins("<?xml") || begins("<svg") || begins("<error") {
        "an XML document"
    } else {
        "a text"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_called_what_they_are() {
        let rows: [(&[u8], &str); 7] = [
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "a Git LFS pointer"),
            (b"\n<!DOCTYPE HTML><html>", "a web page"),
            (b"\xef\xbb\xbf<HTML>", "a web page"),
            (b"<?xml version='1.0'?><Error><Code>AccessDenied", "an XML document"),
            (b"Invalid username or password.", "a text"),
            (b"\x1f\x8b\x08\0", "compressed by gzip"),
            ("Zugriff verweigert: \u{fc}".as_bytes(), "a text"),
        ];
        for (bytes, expected) in rows {
            let found = told_by(bytes).unwrap_or_default();
            assert!(found.starts_with(expected), "{found}, expected {expected}");
        }
        assert!(told_by(&"\u{fc}".as_bytes()[..1]).is_none() && told_by(b"").is_none());
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(told_by(&tar), Some("a tar archive; unpack it first"));
    }
}
