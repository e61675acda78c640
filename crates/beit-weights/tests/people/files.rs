//! Files that are not what their names say.

use crate::made::{answer, refusal, saved};
use std::fs;

const LFS: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 346000000\n";

#[test]
fn a_folder_may_have_its_one_file_of_weights_under_any_name() {
    let (_tmp, folder) = saved();
    let expected = answer(&folder);
    for name in ["beit.safetensors", "model.pth", "last.ckpt"] {
        let (_tmp, folder) = saved();
        fs::rename(folder.join("model.safetensors"), folder.join(name)).unwrap();
        fs::write(folder.join("optimizer.pt"), "").unwrap();
        assert_eq!(answer(&folder), expected, "{name}");
        fs::copy(folder.join(name), folder.join("other.safetensors")).unwrap();
        assert!(refusal(&folder).contains("cannot read") && refusal(&folder).contains("model.safetensors"));
    }
}

/// Whatever the place of the file, in its own words.
#[test]
fn are_called_what_they_are() {
    let rows: [(&str, &[u8], &str); 10] = [
        ("model.safetensors", LFS.as_bytes(), "it is a Git LFS pointer"),
        ("config.json", LFS.as_bytes(), "it is a Git LFS pointer"),
        ("preprocessor_config.json", LFS.as_bytes(), "it is a Git LFS pointer"),
        ("pytorch_model.bin", LFS.as_bytes(), "it is a Git LFS pointer"),
        ("model.safetensors", b"<!DOCTYPE html><html lang=\"en\">", "it is a web page (HTML)"),
        ("config.json", b"\n<html><head>", "it is a web page (HTML)"),
        ("model.safetensors", b"Repository not found\n", "it is a text"),
        ("pytorch_model.bin", b"curl: (22) The requested URL returned error: 404", "it is a text"),
        ("pytorch_model.bin", b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "it is compressed by gzip"),
        ("encoder.pkl", b"--2024-01-01--  https://example.org/encoder.pkl\n", "it is a text"),
    ];
    for (name, bytes, expected) in rows {
        let (_tmp, folder) = saved();
        if !name.ends_with("json") {
            fs::remove_file(folder.join("model.safetensors")).unwrap();
        }
        fs::write(folder.join(name), bytes).unwrap();
        let text = refusal(&folder);
        assert!(text.contains(expected) && text.contains(name), "{name}: {text}");
    }
}
