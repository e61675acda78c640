//! Decoding: upright, RGB, and never half a picture.

use crate::pictures::{encode, jpeg, picture};
use beit_data::{Error, Image};
use image::{DynamicImage, ImageFormat, Luma, Rgba};
use proptest::prelude::*;

/// A JPEG with an EXIF segment that says how to turn it.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

fn is_dark(image: &Image, row: usize, col: usize) -> bool {
    image.pixels()[(row * image.width() + col) * 3 + 1] < 60
}

#[test]
fn exif_orientation_is_applied() {
    let bytes = jpeg(200);
    let upright = Image::decode(&with_orientation(&bytes, 1), "1").unwrap();
    assert_eq!((upright.height(), upright.width()), (24, 32));
    assert!(is_dark(&upright, 1, 1));
    // 6: the picture was taken with the camera turned, its top left belongs to the top right.
    let turned = Image::decode(&with_orientation(&bytes, 6), "6").unwrap();
    assert_eq!((turned.height(), turned.width()), (32, 24));
    assert!(is_dark(&turned, 1, 22) && !is_dark(&turned, 1, 1));
}

#[test]
fn every_kind_of_picture_becomes_rgb() {
    let rgba = image::RgbaImage::from_pixel(4, 4, Rgba([200, 100, 50, 0]));
    let deep = image::ImageBuffer::<Luma<u16>, _>::from_pixel(4, 4, Luma([0x8080_u16]));
    let grey = image::GrayImage::from_pixel(4, 4, Luma([77]));
    let rows: [(DynamicImage, ImageFormat, [u8; 3]); 4] = [
        (rgba.clone().into(), ImageFormat::Png, [200, 100, 50]), // dropped, not blended
        (rgba.into(), ImageFormat::WebP, [200, 100, 50]),
        (deep.into(), ImageFormat::Png, [0x80; 3]),
        (grey.into(), ImageFormat::Jpeg, [77; 3]),
    ];
    for (image, format, expected) in rows {
        let decoded = Image::decode(&encode(&image, format), "picture").unwrap();
        let found = &decoded.pixels()[..3];
        assert!(
            found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 1),
            "{format:?}: {found:?} for {expected:?}"
        );
    }
}

#[test]
fn a_truncated_file_is_an_error_that_names_it() {
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
        let bytes = encode(&picture(64, 64, [1, 200, 3]), format);
        assert!(Image::decode(&bytes, "whole").is_ok());
        for part in [0, 1, 10, bytes.len() / 2, bytes.len() - bytes.len() / 8] {
            let error = Image::decode(&bytes[..part], "shots/cut.jpg").expect_err("the file is cut");
            assert!(matches!(error, Error::Decode { .. }), "{format:?} cut to {part}");
            assert!(error.to_string().starts_with("cannot decode shots/cut.jpg: "), "{error}");
        }
    }
}

#[test]
fn what_follows_a_jpeg_does_not_matter() {
    let trailer = [0xff, 0xda, 0, 9, 9, 9];
    assert!(Image::decode(&[jpeg(1).as_slice(), &trailer].concat(), "with a trailer").is_ok());
}

#[test]
fn a_picture_that_claims_too_much_memory_is_refused() {
    // A PNG header of 60,000 x 60,000 pixels, 10.8 GB, with a valid checksum and little data.
    let mut header = b"IHDR\0\0\xea\x60\0\0\xea\x60\x08\x02\0\0\0".to_vec();
    let mut checksum = flate2::Crc::new();
    checksum.update(&header);
    header.extend(checksum.sum().to_be_bytes());
    let bytes =
        [b"\x89PNG\r\n\x1a\n\0\0\0\x0d".as_slice(), &header, b"\0\0\0\0IDAT\x35\xaf\x06\x1e"].concat();
    let text = Image::decode(&bytes, "bomb.png").unwrap_err().to_string();
    assert!(text.contains("memory") || text.contains("limit"), "{text}");
}

#[test]
fn a_limit_holds_for_every_format() {
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
        let bytes = encode(&picture(64, 64, [1, 200, 3]), format);
        assert!(Image::decode_within(&bytes, "fits", 1 << 16).is_ok(), "{format:?}");
        let text = Image::decode_within(&bytes, "large", 64 * 63 * 3).unwrap_err().to_string();
        assert!(text.starts_with("cannot decode large: "), "{format:?}: {text}");
    }
}

proptest! {
    #[test]
    fn damaged_files_never_panic(at in 2_usize..600, value: u8, png: bool) {
        let format = if png { ImageFormat::Png } else { ImageFormat::Jpeg };
        let mut bytes = encode(&picture(16, 16, [9, 99, 199]), format);
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = Image::decode(&bytes, "damaged");
    }
}
