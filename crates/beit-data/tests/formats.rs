//! Every format against Pillow, byte by byte (tests/peers/format_goldens.py).

use std::path::PathBuf;

use beit_data::Image;

struct Golden {
    name: String,
    size: [usize; 2],
    checksum: u32,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/formats")
}

fn goldens() -> Vec<Golden> {
    let golden = |line: &str| {
        let row: Vec<&str> = line.split(',').collect();
        let size = [row[1], row[2]].map(|side| side.parse().unwrap());
        Golden { name: row[0].to_owned(), size, checksum: row[3].parse().unwrap() }
    };
    let list = std::fs::read_to_string(folder().join("list.csv")).unwrap();
    list.lines().skip(1).map(golden).collect()
}

/// JPEG: which markers say what its colours are, ink, scans that are cut; BMP, GIF and TIFF in their kinds.
#[test]
fn every_format_is_decoded_to_the_bytes_of_pillow() {
    let goldens = goldens();
    assert!(goldens.len() > 100, "{} goldens", goldens.len());
    let mut wrong = Vec::new();
    for golden in &goldens {
        let image = match Image::open(folder().join(&golden.name)) {
            Ok(image) => image,
            Err(error) => {
                wrong.push(error.to_string());
                continue;
            }
        };
        let mut checksum = flate2::Crc::new();
        checksum.update(image.pixels());
        if ([image.height(), image.width()], checksum.sum()) != (golden.size, golden.checksum) {
            wrong.push(format!("{}: {} x {}, other bytes", golden.name, image.height(), image.width()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The format is what the first bytes say, whatever the name.
#[test]
fn a_file_may_have_a_wrong_name() {
    let bytes = std::fs::read(folder().join("frames.gif")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("picture.jpg"), &bytes).unwrap();
    let image = Image::open(dir.path().join("picture.jpg")).unwrap();
    assert_eq!(image, Image::decode(&bytes, "picture").unwrap());
}

#[test]
fn a_cut_file_is_an_error_in_every_format() {
    for name in
        ["24.bmp", "palette-8.bmp", "runs-8.bmp", "screen.gif", "rgb-raw.tif", "rgb-tiff_lzw.tif", "jpeg.tif"]
    {
        let mut bytes = std::fs::read(folder().join(name)).unwrap();
        if name.ends_with("tif") {
            // The directory lies at the end; what the strip begins with is lost.
            bytes.drain(8..40);
            assert!(Image::decode(&bytes, name).is_err(), "{name}");
            continue;
        }
        for part in [20, bytes.len() / 2, bytes.len() - 40] {
            let text = Image::decode(&bytes[..part], name).unwrap_err().to_string();
            assert_eq!(
                text,
                format!("cannot decode {name}: the file ends before the end of the image"),
                "{part}"
            );
        }
    }
}
