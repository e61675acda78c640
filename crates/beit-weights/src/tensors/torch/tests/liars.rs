//! Files that are cut short, damaged, or claim what is not so.

use super::written::{archive, compressed_archive, legacy};
use super::*;
use std::io::Cursor;
use zip::CompressionMethod;

/// A pickle of one tensor `x` in storage 0: with `elements` elements, from `offset`, with these extents and strides.
fn one(kind: &str, elements: i64, offset: i64, shape: &[i64], stride: &[i64]) -> Vec<u8> {
    let number = |n: i64| [&[0x8a, 8][..], &n.to_le_bytes()].concat();
    let tuple =
        |n: &[i64]| [b"(".to_vec(), n.iter().flat_map(|&n| number(n)).collect(), b"t".to_vec()].concat();
    [
        b"\x80\x02}U\x01xctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\n".to_vec(),
        kind.as_bytes().to_vec(),
        b"\nU\x010U\x03cpu".to_vec(),
        number(elements),
        b"tQ".to_vec(),
        number(offset),
        tuple(shape),
        tuple(stride),
        b"\x89NtRs.".to_vec(),
    ]
    .concat()
}

/// In an archive with a storage of 16 bytes.
fn archived(pickle: &[u8]) -> Vec<u8> {
    archive(&[("data.pkl", pickle), ("data/0", &[7; 16])])
}

#[test]
fn the_honest_case_of_these_tests_is_read() {
    let pickle = one("FloatStorage", 4, 1, &[3], &[1]);
    let counted = [&4i64.to_le_bytes()[..], &[7; 16]].concat();
    for file in [archived(&pickle), legacy(&pickle, &[("0", &counted)])] {
        assert_eq!(open(&file).unwrap().bytes("x").unwrap(), [7; 12]);
    }
}

#[test]
fn a_tensor_is_within_its_storage() {
    const HUGE: i64 = 1 << 60;
    for (pickle, said) in [
        (
            one("FloatStorage", HUGE, 0, &[1], &[1]),
            "`x` needs a storage of 4611686018427387904 bytes, found 16",
        ),
        (one("FloatStorage", 1 << 62, 0, &[1], &[1]), "claims 4611686018427387904 elements"),
        (one("FloatStorage", 1 << 40, 0, &[1], &[1]), "`x` needs a storage of 4398046511104 bytes, found 16"),
        (
            one("FloatStorage", 4, 2, &[3], &[1]),
            "`x` [3] with strides [1] reaches beyond its storage of 16 bytes",
        ),
        (one("FloatStorage", 4, 0, &[2, 2], &[3, 1]), "`x` [2, 2] with strides [3, 1] reaches beyond"),
        (one("FloatStorage", 4, 0, &[HUGE, HUGE], &[1, 1]), "reaches beyond"),
        (one("FloatStorage", 4, 0, &[2], &[i64::MAX]), "reaches beyond"),
        (one("FloatStorage", 4, HUGE, &[0], &[1]), "reaches beyond"),
        (one("FloatStorage", 4, i64::MAX, &[1], &[1]), "reaches beyond"),
        (one("FloatStorage", 4, 0, &[HUGE], &[0]), "`x` [1152921504606846976] would be larger than the file"),
        (one("FloatStorage", 4, 0, &[HUGE, 4, HUGE], &[0, 0, 0]), "would be larger than the file"),
        (one("FloatStorage", 4, -1, &[1], &[1]), "has Int(-1) for an extent, stride or offset"),
        (one("FloatStorage", 4, 0, &[-1], &[1]), "has Int(-1) for an extent"),
        (one("FloatStorage", -4, 0, &[1], &[1]), "has -4 elements"),
        (one("FloatStorage", 4, 0, &[1, 1], &[1]), "has 2 extents and 1 strides"),
        (one("FloatStorage", 4, 0, &[1; 65], &[1; 65]), "65 extents"),
        (one("ComplexFloatStorage", 1, 0, &[1], &[1]), "is a torch.ComplexFloatStorage"),
        (one("UntypedStorage", 16, 0, &[1], &[1]), "is of type bytes"),
    ] {
        let message = problem(&archived(&pickle));
        assert!(message.contains(said), "expected {said}: {message}");
    }
}

/// Before torch 0.4 tensors shared storages by parts of them.
#[test]
fn a_part_of_a_storage_bounds_its_tensors() {
    let part = |first: u8, length: u8, offset: u8| {
        let pickle = [
            &b"\x80\x02}U\x01xctorch._utils\n_rebuild_tensor\n((U\x07storagectorch\nByteStorage\nU\x010U\x03cpuK\x10"[..],
            &[b'U', 1, b'v', b'K', first, b'K', length, 0x87, b't', b'Q', b'K', offset],
            b"K\x02\x85K\x01\x85tRs.",
        ];
        legacy(
            &pickle.concat(),
            &[("0", &[&16i64.to_le_bytes()[..], &(0..16).collect::<Vec<u8>>()].concat())],
        )
    };
    assert_eq!(open(&part(8, 4, 1)).unwrap().bytes("x").unwrap(), [9, 10]);
    assert!(problem(&part(8, 4, 3)).contains("reaches beyond"));
    assert!(problem(&part(8, 9, 0)).contains("storage 0 of 16 elements has a part of 9 from 8"));
}

#[test]
fn names_are_short_and_not_too_many() {
    let tensor = one("FloatStorage", 4, 0, &[4], &[1]);
    let tensor = [&tensor[6..tensor.len() - 2], b"q\x000"].concat();
    let many = [&b"\x80\x02"[..], &tensor, b"](", &b"h\x00".repeat(70_000), b"e."].concat();
    let message = problem(&archived(&many));
    assert!(message.contains("more than 65536 tensors"), "{message}");
    let long = [&b"\x80\x02"[..], &tensor, b"}X\x01\x02\x00\x00", &[b'n'; 0x201], b"h\x00s."].concat();
    let message = problem(&archived(&long));
    assert!(message.contains("a name of more than 512 bytes"), "{message}");
}

#[test]
fn a_storage_is_there_and_where_it_is_said_to_be() {
    let pickle = one("FloatStorage", 4, 0, &[4], &[1]);
    let message = problem(&archive(&[("data.pkl", &pickle)]));
    assert!(message.contains("tensor `x` is in storage 0, which is missing"), "{message}");
    let three = [&3i64.to_le_bytes()[..], &[7; 16]].concat();
    let message = problem(&legacy(&pickle, &[("0", &three)]));
    assert!(message.contains("storage 0 has 3 elements, expected 4"), "{message}");
    let message = problem(&legacy(&pickle, &[("1", &three)]));
    assert!(message.contains("lists storage 1, which no tensor uses"), "{message}");
}

/// Files that PyTorch wrote, cut at every length and with every byte changed: an error or other weights, never a panic.
#[test]
fn no_damage_is_worse_than_an_error() {
    for name in ["checkpoint.pth", "checkpoint_legacy.pth", "views_legacy.pth", "types_protocol_4.pth"] {
        let whole = fs::read(golden(name)).unwrap();
        for length in 0..whole.len() {
            let cut = container::contents(&mut Cursor::new(&whole[..length]));
            assert!(cut.is_err(), "{name} cut to {length} of {} bytes", whole.len());
        }
        for (place, flip) in (0..whole.len()).zip([0x01, 0x80, 0xff].into_iter().cycle()) {
            let mut changed = whole.clone();
            changed[place] ^= flip;
            let mut changed = Cursor::new(changed);
            for (_, tensor) in container::contents(&mut changed).unwrap_or_default().tensors {
                let _ = tensor.read(&mut changed).map(|window| gather::row_major(&tensor, window));
            }
        }
    }
}

#[test]
fn a_flipped_weight_in_an_archive_is_noticed() {
    let mut bytes = fs::read(golden("written.pth")).unwrap();
    let weight = bytes.windows(8).position(|window| window == [0, 0, 128, 63, 0, 0, 0, 192]).unwrap();
    bytes[weight] ^= 1;
    let message = open(&bytes).unwrap().bytes("model.cls_token").unwrap_err().to_string();
    assert!(message.contains("checksum"), "{message}");
}

#[test]
fn bytes_in_big_order_are_refused() {
    let pickle = one("FloatStorage", 4, 0, &[4], &[1]);
    let message = problem(&archive(&[("data.pkl", &pickle), ("data/0", &[7; 16]), ("byteorder", b"big")]));
    assert!(message.contains("in big order, expected little"), "{message}");
    let mut stream = legacy(&pickle, &[]);
    let place = stream.iter().position(|&byte| byte == 0x88).unwrap();
    stream[place] = 0x89;
    let message = problem(&stream);
    assert!(message.contains("in big order, expected little"), "{message}");
}

#[test]
fn a_zip_of_something_else_is_refused() {
    for (file, said) in [
        (archive(&[("notes.txt", b"hello")]), "zip without data.pkl"),
        (archive(&[("data.pkl", b"\x80\x02}."), ("constants.pkl", b"N.")]), "TorchScript"),
        (b"PK\x03\x04 and nothing more".to_vec(), "as a zip it is damaged"),
        (twice(), "two entries of the zip have the same name"),
    ] {
        let message = problem(&file);
        assert!(message.contains(said), "expected {said}: {message}");
    }
}

/// An archive with two entries of one name.
fn twice() -> Vec<u8> {
    let mut file = archive(&[("data.pkl", b"\x80\x02}."), ("data.pkm", b"\x80\x02}.")]);
    for place in 0..file.len() - 8 {
        if file[place..].starts_with(b"data.pkm") {
            file[place + 7] = b'l';
        }
    }
    file
}

/// Reading needs no decompressor, so there is no bomb.
#[test]
fn a_compressed_entry_is_refused() {
    let mut file = compressed_archive(&[("data.pkl", b"\x80\x02}.")], CompressionMethod::Stored);
    // The method of the local and of the central header.
    for (signature, method) in [(b"PK\x03\x04", 8), (b"PK\x01\x02", 10)] {
        let header = file.windows(4).position(|window| window == signature).unwrap();
        file[header + method] = 8;
    }
    let message = problem(&file);
    assert!(message.contains("`archive/data.pkl` of the zip is compressed"), "{message}");
}

#[test]
fn nesting_and_repetition_end_in_an_error() {
    let lists = [&b"\x80\x02"[..], &[b']'; 100_000], &[b'a'; 99_999], b"."].concat();
    let tuples = [&b"\x80\x02N"[..], &[0x85; 100_000], b"."].concat();
    let itself = b"\x80\x02}q\x00U\x01ah\x00s.".to_vec();
    // Each level has the one before it ten times.
    let mut laughs = b"\x80\x02]q\x00".to_vec();
    for _ in 0..30 {
        laughs.extend(b"0](h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00eq\x00");
    }
    laughs.push(b'.');
    // A long list in a long list, which again is in one.
    let long =
        [&b"\x80\x02]("[..], &b"K\x01".repeat(100_000), b"eq\x000](", &b"h\x00".repeat(100_000), b"e."]
            .concat();
    for (pickle, said) in [
        (lists, "nested more than 64 levels"),
        (tuples, "nested more than 64 levels"),
        (itself, "nested more than 64 levels"),
        (laughs, "more than 2097152 entries"),
        (long, "more than 2097152 entries"),
    ] {
        let message = problem(&archive(&[("data.pkl", &pickle)]));
        assert!(message.contains(said), "expected {said}: {message}");
    }
    // Attributes are looked through each time they are given.
    let state = [&b"\x80\x02}("[..], &b"K\x01K\x01".repeat(100_000), b"uq\x000cmy.code\nNet\n)\x81"].concat();
    let states = [&state[..], &b"h\x00b".repeat(100_000), b"."].concat();
    let many = [&b"\x80\x02"[..], &[b'N'; 3_000_000], b"."].concat();
    let memo = [&b"\x80\x02}"[..], &b"r\xff\xff\xff\xff".repeat(3_000_000), b"."].concat();
    let copies = [&b"\x80\x02"[..], &[b']'; 1], &[b'2'; 3_000_000], b"."].concat();
    for pickle in [many, memo, copies, states] {
        let message = problem(&archive(&[("data.pkl", &pickle)]));
        assert!(message.contains("its pickle makes more than"), "{message}");
    }
}

#[test]
fn a_malformed_pickle_says_what_is_wrong() {
    for (pickle, said) in [
        (&b"\x80\x09."[..], "pickle protocol 9"),
        (b"\x80\x02h\x05.", "place 5 of the memo, which is empty"),
        (b"\x80\x02.", "empty stack"),
        (b"\x80\x02(.", "empty stack"),
        (b"\x80\x02t.", "was not begun"),
        (b"\x80\x02}(NNNu.", "a key without a value"),
        (b"\x80\x02NNa.", "no list"),
        (b"\x80\x02NNNs.", "no dict"),
        (b"\x80\x02N}b.", "a value that has none"),
        (b"\x80\x02\xff", "opcode 0xff"),
        (b"\x80\x02X\xff\xff\xff\xffab", "4294967295 more are expected"),
        (b"\x80\x05\x8d\xff\xff\xff\xff\xff\xff\xff\xffab", "18446744073709551615 more are expected"),
        (b"\x80\x02I12x\n.", "`12x` for a number"),
        (b"\x80\x02U\x01aQ.", "neither storage nor class"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "without storage, offset and extents"),
        (b"\x80\x04NN\x93.", "imports a name that is no text"),
        (b"\x80\x02ccollections\nOrderedDict\nK\x01R.", "without a tuple of arguments"),
        (b"\x80\x02ccollections\nOrderedDict\n](NN\x86K\x01e\x85R.", "no list of pairs"),
        (b"\x80\x02", "ends after 2 bytes"),
    ] {
        let message = problem(&archive(&[("data.pkl", pickle)]));
        assert!(message.contains(said), "expected {said}: {message}");
    }
}

#[test]
fn two_tensors_of_one_name_are_refused() {
    let nested = one("FloatStorage", 4, 0, &[4], &[1]);
    let inner = &nested[2..nested.len() - 1];
    let flat = [&b"U\x03a.x"[..], &nested[6..nested.len() - 2], b"s"].concat();
    let pickle = [&b"\x80\x02}U\x01a"[..], inner, b"s", &flat, b"."].concat();
    let message = problem(&archived(&pickle));
    assert!(message.contains("two tensors are called `a.x`"), "{message}");
}
