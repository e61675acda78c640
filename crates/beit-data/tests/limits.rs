//! Pictures that ask for too much, and files that are none: each is named, none is waited for, and the others stay.

use std::sync::Arc;

use crate::pictures::{self, jpeg, write};
use beit_data::{Error, Folder, Image, Item, Loader, LoaderConfig, Preprocessing};

const LONG_EXIF: &[u8] = include_bytes!("hostile/long-exif.webp");
const LARGE_WEBP: &[u8] = include_bytes!("hostile/large.webp");
const THIN: &[u8] = include_bytes!("hostile/thin.png");
const TWELVE_BITS: &[u8] = include_bytes!("hostile/12-bit.jpg");
const PROGRESSIVE: &[u8] = include_bytes!("hostile/progressive.jpg");

/// A piece of a PNG with its checksum.
fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut checksum = flate2::Crc::new();
    checksum.update(name);
    checksum.update(body);
    [&(body.len() as u32).to_be_bytes()[..], name, body, &checksum.sum().to_be_bytes()].concat()
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A PNG of `width` x `height` with so many bits a sample, of a kind (0 grey, 2 RGB, 6 RGBA), with `more` chunks and black pixels.
fn png([width, height]: [u32; 2], [bits, kind]: [u8; 2], more: &[u8], pixels: usize) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[bits, kind, 0, 0, 0]].concat();
    [
        b"\x89PNG\r\n\x1a\n".as_slice(),
        &chunk(b"IHDR", &header),
        more,
        &chunk(b"IDAT", &compressed(&vec![0; pixels])),
        &chunk(b"IEND", &[]),
    ]
    .concat()
}

fn refused(bytes: &[u8]) -> String {
    let error = Image::decode(bytes, "shots/bad").expect_err("it asks for too much");
    let Error::Decode { name, reason } = error else { panic!("{error}") };
    assert_eq!(name, "shots/bad");
    reason
}

#[test]
fn every_form_of_a_picture_counts() {
    let sideways = chunk(b"eXIf", b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0");
    let rows = [
        (png([23_000, 23_000], [1, 0], &[], 99), "1587000000 bytes"), // as RGB, not as it is coded
        (png([13_000, 13_000], [16, 6], &[], 99), "1352000000 bytes"), // as it is decoded
        (png([10_000, 9_000], [8, 2], &sideways, 99), "540000000 bytes"), // and turned
        (LARGE_WEBP.to_vec(), "1352000000 bytes"),                    // and in the decoder
        (png([1 << 21, 1], [1, 0], &[], 99), "expected sides of at most 1048576"),
    ];
    for (bytes, expected) in rows {
        let reason = refused(&bytes);
        assert!(reason.contains(expected), "{reason}, not {expected}");
    }
}

/// A BMP of 24 bits a pixel, and its first pixels.
fn bmp([width, height]: [i32; 2], bits: u16) -> Vec<u8> {
    let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
    let kind = [1_u16.to_le_bytes(), bits.to_le_bytes()].concat();
    [b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".as_slice(), &sides, &kind, &[0; 24], &[7; 99]].concat()
}

/// A GIF of a screen and a first frame of these sizes, `[width, height]`.
fn gif(screen: [u16; 2], frame: [u16; 2]) -> Vec<u8> {
    let sides = |sides: [u16; 2]| sides.map(u16::to_le_bytes).concat();
    let colours = b"\x80\0\0\0\0\0\xff\xff\xff";
    [b"GIF89a", &sides(screen)[..], colours, b",\0\0\0\0", &sides(frame), b"\0\x02\x02\x44\x01\0;"].concat()
}

/// A TIFF with these tags of 32 bits. The data of its strips lie in its first bytes.
fn tiff(tags: &[(u16, u32)]) -> Vec<u8> {
    let mut bytes = [b"II\x2a\0\x08\0\0\0".as_slice(), &(tags.len() as u16).to_le_bytes()].concat();
    for (tag, value) in tags {
        bytes.extend([tag.to_le_bytes(), 4_u16.to_le_bytes()].concat());
        bytes.extend([1_u32.to_le_bytes(), value.to_le_bytes()].concat());
    }
    [bytes, vec![0; 4]].concat()
}

/// Strips of a grey TIFF of a size, compressed by a codec.
fn strip([width, height]: [u32; 2], codec: u32) -> Vec<u8> {
    tiff(&[
        (256, width),
        (257, height),
        (258, 8),
        (259, codec),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, height),
        (279, 9),
    ])
}

/// One tile of a grey TIFF of 16 x 16 pixels, compressed by a codec.
fn tile([width, height]: [u32; 2], codec: u32) -> Vec<u8> {
    let tags = [(256, 16), (257, 16), (258, 8), (259, codec), (262, 1), (277, 1)];
    tiff(&[&tags[..], &[(322, width), (323, height), (324, 8), (325, 9)]].concat())
}

#[test]
fn what_a_header_claims_is_not_allocated() {
    let largest = [u16::MAX; 2];
    let rows = [
        (bmp([65_535, 65_535], 24), "65535 x 65535 pixels take"),
        (bmp([65_535, -65_535], 32), "65535 x 65535 pixels take"),
        (bmp([30_000, 10_000], 1), "10000 x 30000 pixels take 900000000 bytes"),
        (bmp([i32::MAX, i32::MAX], 24), "too large"),
        (gif(largest, [2, 2]), "65535 x 65535 pixels take"),
        (gif([2, 2], largest), "65535 x 65535 pixels take"),
        (strip([65_535, 65_535], 1), "65535 x 65535 pixels take"),
        (strip([u32::MAX, u32::MAX], 5), "expected sides of at most 1048576"),
        (strip([65_535, 65_535], 7), "65535 x 65535 pixels take"),
        (tile([u32::MAX - 15, u32::MAX - 15], 1), "16 x 16 pixels take"),
        (tile([1 << 20, 1 << 20], 8), "16 x 16 pixels take 1099511628800 bytes"),
        (tile([1 << 20, 1 << 20], 7), "16 x 16 pixels take"),
        (strip([0, 4], 1), ""),
        (bmp([0, 4], 24), ""),
    ];
    for (bytes, expected) in rows {
        let reason = refused(&bytes);
        assert!(reason.contains(expected), "{reason}, not {expected}");
    }
}

#[test]
fn metadata_count_too() {
    assert_eq!(refused(LONG_EXIF), "expected 4294967295 bytes of EXIF metadata by their header, found 26");
    let text = png([8, 8], [8, 0], &chunk(b"tEXt", &[b"Title\0".as_slice(), &[b'a'; 1 << 20]].concat()), 72);
    assert!(Image::decode(&text, "a text of 1 MiB").is_ok());
    let error = Image::decode_within(&text, "a text of 1 MiB", 1 << 22).unwrap_err().to_string();
    assert!(error.contains("limit"), "{error}");
}

#[test]
fn a_jpeg_is_not_decoded_again_and_again() {
    assert!(Image::decode(PROGRESSIVE, "as it was made").is_ok());
    let last = PROGRESSIVE.windows(2).rposition(|pair| pair == [0xff, 0xda]).unwrap();
    let end = PROGRESSIVE.len() - 2;
    let scans = PROGRESSIVE[last..end].repeat(4000);
    let many = [&PROGRESSIVE[..end], &scans, &PROGRESSIVE[end..]].concat();
    let reason = refused(&many);
    assert!(reason.contains("scans") && reason.ends_with("expected at most 100 at its size"), "{reason}");
    let sequential = jpeg(9);
    let (scan, end) =
        (sequential.windows(2).rposition(|pair| pair == [0xff, 0xda]).unwrap(), sequential.len() - 2);
    let many = [&sequential[..end], &sequential[scan..end].repeat(9), &sequential[end..]].concat();
    assert!(refused(&many).starts_with("a JPEG of 10 scans, which would take too long; expected at most 3 "));
}

#[test]
fn a_jpeg_of_another_kind_is_called_what_it_is() {
    assert_eq!(refused(TWELVE_BITS), "a 12-bit JPEG, which is not read; save it with 8 bits a sample");
}

#[test]
fn a_jpeg_whose_restarts_are_out_of_order_is_damaged() {
    let restart = |number: u8| [0xff, 0xd0 + number];
    let sequential = jpeg(9);
    let end = sequential.len() - 2;
    let with = |numbers: &[u8]| {
        let restarts: Vec<u8> = numbers.iter().flat_map(|&number| restart(number)).collect();
        [&sequential[..end], &restarts, &sequential[end..]].concat()
    };
    assert!(Image::decode(&with(&[0, 1, 2, 3, 4, 5, 6, 7, 0]), "in order").is_ok());
    for numbers in [[0, 2].as_slice(), &[1], &[0, 0], &[0, 1, 2, 3, 4, 5, 6, 7, 1]] {
        assert_eq!(refused(&with(numbers)), "it is damaged: its restart markers are out of order");
    }
}

/// Kinds of TIFF that are not read, each by its name.
#[test]
fn a_tiff_of_another_kind_is_called_what_it_is() {
    let rows = [
        (
            strip([4, 4], 3),
            "a TIFF compressed by CCITT Group 3, which is not read; save it with LZW or Deflate",
        ),
        (strip([4, 4], 6), "a TIFF compressed by JPEG of the old kind, "),
        (strip([4, 4], 50_000), "a TIFF compressed by Zstandard, "),
        (strip([4, 4], 34_925), "a TIFF compressed by LZMA, "),
        (strip([4, 4], 4_711), "a TIFF compressed by the unknown codec 4711, "),
    ];
    for (bytes, expected) in rows {
        assert!(refused(&bytes).starts_with(expected), "{}, not {expected}", refused(&bytes));
    }
    let with = |tag, value| {
        let mut tags =
            vec![(256, 4), (257, 4), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 4), (279, 9)];
        tags.retain(|&(other, _)| other != tag);
        tags.push((tag, value));
        tags.sort_unstable();
        refused(&tiff(&tags))
    };
    assert!(with(339, 3).starts_with("a TIFF of floats or of numbers with a sign, which is not read"));
    assert!(with(258, 12).starts_with("a TIFF in grey of 1 x 12 bits a pixel, which is not read"));
    assert!(with(262, 6).starts_with("a TIFF in YCbCr, but not compressed by JPEG, of 1 x 8 bits"));
    assert!(with(262, 8).starts_with("a TIFF in L*a*b* of 1 x 8 bits"));
    assert!(with(266, 2).starts_with("a TIFF with the bits of a byte reversed"));
}

#[test]
fn a_file_of_another_format_is_called_what_it_is() {
    let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic";
    assert_eq!(refused(heic), "it is a HEIC picture, which is not read; save it as JPEG or PNG");
    assert_eq!(
        refused(b"<svg xmlns=''></svg>"),
        "it is an SVG drawing, which is not read; save it as JPEG or PNG"
    );
    assert_eq!(refused(b""), "the file is empty");
}

/// Checksums of what Pillow 13 gives: `zlib.crc32(Image.open(file).convert("RGB").tobytes())`.
#[test]
fn sixteen_bits_become_eight_as_pillow_does() {
    let rows = [
        (include_bytes!("hostile/rgb16.png").as_slice(), 1_429_130_173, [167, 228, 10]),
        (include_bytes!("hostile/la16.png"), 244_777_137, [10; 3]),
    ];
    for (bytes, expected, third) in rows {
        let image = Image::decode(bytes, "16 bits").unwrap();
        let mut checksum = flate2::Crc::new();
        checksum.update(image.pixels());
        assert_eq!((&image.pixels()[6..9], checksum.sum()), (third.as_slice(), expected));
    }
}

/// Pillow gives 0, 1, 255, 255, 255 for these: it cuts at 255, and all but the darkest picture is white.
#[test]
fn grey_of_sixteen_bits_is_not_cut() {
    let grey = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(5, 1, vec![0, 1, 0x00ff, 0x80ff, 0xffff]);
    let bytes = pictures::encode(&grey.unwrap().into(), image::ImageFormat::Png);
    let image = Image::decode(&bytes, "grey").unwrap();
    assert_eq!(image.pixels(), [0, 0, 0, 0x80, 0xff].map(|v| [v; 3]).as_flattened());
}

/// To cover 256 x 256, a line of a million pixels becomes 256 million long; 224 are seen.
#[test]
fn of_a_thin_picture_only_what_is_seen_is_computed() {
    for size in [[1, 1 << 20], [1 << 20, 1]] {
        let mut image = Image::new(size[0], size[1], vec![7; 3 << 20]);
        // The middle, which the centre shows enlarged.
        image.pixels_mut()[3 << 19..][..6].copy_from_slice(&[200; 6]);
        for rule in [Preprocessing::unilm, Preprocessing::timm, Preprocessing::hugging_face] {
            let view = rule([224; 2]).view(&image);
            assert_eq!((view.height(), view.width()), (224, 224));
        }
        let view = Preprocessing::unilm([224; 2]).view(&image);
        let (least, greatest) = (view.pixels().iter().min(), view.pixels().iter().max());
        assert!(least < Some(&20) && greatest > Some(&190), "{size:?}: {least:?} to {greatest:?}");
    }
}

#[cfg(unix)]
#[test]
fn the_good_pictures_of_a_batch_stay() {
    let dir = tempfile::tempdir().unwrap();
    let bad: [(&str, &[u8]); 4] =
        [("12.jpg", TWELVE_BITS), ("exif.webp", LONG_EXIF), ("large.webp", LARGE_WEBP), ("long.jpg", b"")];
    bad.iter().for_each(|(name, bytes)| write(&dir.path().join(name), bytes));
    // A file with a hole, which takes no room on the disk.
    std::fs::File::create(dir.path().join("long.jpg")).unwrap().set_len(1 << 40).unwrap();
    pictures::pipe(&dir.path().join("pipe.jpg"));
    std::os::unix::fs::symlink("/dev/zero", dir.path().join("zero.png")).unwrap();
    write(&dir.path().join("good.jpg"), &jpeg(1));
    write(&dir.path().join("thin.png"), THIN);

    let source = Arc::new(Folder::open_exact(dir.path()).unwrap());
    let config = LoaderConfig { max_bad_share: 0.9, ..LoaderConfig::evaluation(8) };
    let view = Preprocessing::unilm([224; 2]);
    let loader = Loader::new(source, (0..8).collect(), config, move |item: Item, _| view.apply(&item.image));
    let loader = loader.unwrap();
    let batch = loader.epoch(0).unwrap().next().unwrap().unwrap();
    assert_eq!((batch.indices, batch.data.len()), (vec![2, 6], 2 * 3 * 224 * 224));
    let reasons = [
        "a 12-bit JPEG",
        "4294967295 bytes of EXIF",
        "1352000000 bytes of memory",
        "expected at most 268435456 bytes, found 1099511627776 bytes",
        "it is a named pipe, expected a regular file",
        "it is a device, expected a regular file",
    ];
    let found = loader.bad_files();
    assert_eq!(found.len(), reasons.len());
    for (file, reason) in found.iter().zip(reasons) {
        assert!(file.reason.contains(reason), "{file:?}, not {reason}");
    }
}
