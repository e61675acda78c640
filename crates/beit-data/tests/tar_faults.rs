//! Shards and indices that are damaged, cut, gone or changed.

use std::fs::{self, File};
use std::path::Path;
use std::time::SystemTime;

use crate::archives::{Place, load, names, numbered, opened, said};
use crate::pictures::jpeg;
use beit_data::{Error, Source, Split, Tar};

/// An index of a shard as it is, with a right checksum, of one sample.
fn forged(shard: &Path, name: &[u8], [block, size, class]: [u32; 3]) -> Vec<u8> {
    let data = fs::metadata(shard).unwrap();
    let modified = data.modified().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let mut index = b"BEITIDX\n".to_vec();
    index.extend([1_u32, 1].into_iter().flat_map(u32::to_le_bytes));
    let text = |index: &mut Vec<u8>, bytes: &[u8]| {
        index.extend((bytes.len() as u64).to_le_bytes());
        index.extend(bytes);
    };
    text(&mut index, shard.file_name().unwrap().as_encoded_bytes());
    index.extend(data.len().to_le_bytes());
    index.extend(modified.as_secs().to_le_bytes());
    index.extend(modified.subsec_nanos().to_le_bytes());
    text(&mut index, name);
    index.extend([1, name.len() as u64].into_iter().flat_map(u64::to_le_bytes));
    for number in [block, size, class] {
        index.extend(1_u64.to_le_bytes());
        index.extend(number.to_le_bytes());
    }
    // One name of a class, and no remark.
    index.extend(1_u64.to_le_bytes());
    text(&mut index, b"ant");
    index.extend(0_u64.to_le_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&index);
    index.extend(crc.sum().to_le_bytes());
    index
}

#[test]
fn an_index_is_believed_only_where_all_of_it_is_in_the_shard() {
    const TEXT: u32 = 1 << 31;
    let place = Place::new();
    let path = place.path("s.tar");
    numbered(&path, &["a", "b"]);
    let last = (fs::metadata(&path).unwrap().len() / 512) as u32;
    let rows: [(&[u8], [u32; 3], bool); 7] = [
        (b"x.jpg", [3, 9, TEXT], true),
        (b"x.jpg", [last, 0, u32::MAX], true),
        (b"x.jpg", [last, 1, 0], false),
        (b"x.jpg", [0, u32::MAX, 0], false),
        (b"x.jpg", [u32::MAX, 0, 0], false),
        (b"x.jpg", [3, 9, TEXT | 1], false),
        (b"\xff.jpg", [3, 9, TEXT], false),
    ];
    for (name, numbers, believed) in rows {
        fs::write(place.path("s.tar.beit-index"), forged(&path, name, numbers)).unwrap();
        let source = Tar::open(&place.text("s.tar"), Split::Train, &place.cached()).unwrap();
        let damaged = source.notes().iter().any(|note| note.contains("is made again: it is damaged"));
        assert_eq!(
            (source.len(), damaged),
            if believed { (1, false) } else { (2, true) },
            "{numbers:?}: {:?}",
            source.notes()
        );
    }
}

#[test]
fn of_a_shard_that_is_cut_whole_samples_are_read() {
    let place = Place::new();
    let path = place.path("s.tar");
    numbered(&path, &["a", "b", "c"]);
    let whole = fs::read(&path).unwrap();
    let full = opened(&place.text("s.tar"), Split::Train).unwrap();
    let padded = jpeg(0).len().next_multiple_of(512);
    // A sample is two headers, a block of its class, and its picture.
    let sample = 512 * 3 + padded;
    for cut in (1..whole.len()).step_by(97).chain([512, 1024, 2560, sample, sample + 512, 3 * sample]) {
        fs::write(&path, &whole[..cut]).unwrap();
        match opened(&place.text("s.tar"), Split::Train) {
            Ok(source) => {
                let kept = source.len();
                assert!((1..=3).contains(&kept), "cut at {cut}");
                assert_eq!(names(&source), names(&full)[..kept], "cut at {cut}");
                for index in 0..kept {
                    assert_eq!(
                        (source.label(index), source.image(index).unwrap()),
                        (full.label(index), full_image(index))
                    );
                }
                let ends = cut >= 3 * sample + 512;
                assert_eq!(source.notes().is_empty(), ends, "cut at {cut}: {:?}", source.notes());
                let said = format!("{kept} samples before that are read");
                assert!(ends || source.notes()[0].contains(&said), "cut at {cut}: {:?}", source.notes());
            }
            Err(error) => {
                assert!(cut < sample + 512 && error.to_string().contains("s.tar"), "cut at {cut}: {error}");
            }
        }
    }
}

fn full_image(index: usize) -> beit_data::Image {
    beit_data::Image::decode(&jpeg(index as u8), "").unwrap()
}

#[test]
fn what_is_no_shard_is_called_so() {
    let place = Place::new();
    let rows: [(&str, &[u8], &str); 5] = [
        ("gz.tar", &[0x1f, 0x8b, 8, 0, 0, 0], "compressed by gzip"),
        ("zst.tar", &[0x28, 0xb5, 0x2f, 0xfd, 0, 0], "unzstd"),
        ("text.tar", &[b'a'; 2000], "there is no header at byte 0"),
        ("short.tar", b"abc", "before its first sample is whole"),
        ("empty.tar", b"", "no picture in the shards"),
    ];
    for (name, bytes, says) in rows {
        fs::write(place.path(name), bytes).unwrap();
        let text = said(&place.text(name), Split::Train);
        assert!(text.contains(says) && text.contains(name), "{name}: {text}");
    }
    // Archives behind each other, as `cat` makes them, and rubbish behind an archive.
    numbered(&place.path("a.tar"), &["a"]);
    let one = fs::read(place.path("a.tar")).unwrap();
    numbered(&place.path("b.tar"), &["b"]);
    let two = fs::read(place.path("b.tar")).unwrap();
    fs::write(place.path("both.tar"), [one.clone(), two].concat()).unwrap();
    assert_eq!(names(&opened(&place.text("both.tar"), Split::Train).unwrap()), ["a.jpg", "b.jpg"]);
    fs::write(place.path("more.tar"), [one, vec![7; 999]].concat()).unwrap();
    let more = opened(&place.text("more.tar"), Split::Train).unwrap();
    assert!(
        more.len() == 1 && more.notes()[0].contains("1 samples before that are read"),
        "{:?}",
        more.notes()
    );
}

/// What a header claims is not allocated: 8 EiB and more.
#[test]
fn sizes_beyond_the_shard_are_cut() {
    let place = Place::new();
    let path = place.path("s.tar");
    for kind in [
        tar::EntryType::Regular,
        tar::EntryType::GNULongName,
        tar::EntryType::XHeader,
        tar::EntryType::GNUSparse,
    ] {
        for size in [1 << 20, 1 << 40, u64::MAX >> 1, u64::MAX] {
            numbered(&path, &["a", "b"]);
            let mut bytes = fs::read(&path).unwrap();
            bytes.truncate(bytes.len() - 1024);
            let mut header = tar::Header::new_gnu();
            header.set_path("c.jpg").unwrap();
            header.set_entry_type(kind);
            header.set_size(size);
            header.set_cksum();
            bytes.extend(header.as_bytes());
            bytes.extend([0; 4096]);
            fs::write(&path, bytes).unwrap();
            let source = opened(&place.text("s.tar"), Split::Train).unwrap();
            // Of what is no file nobody knows whether it belongs to the sample before.
            let kept: &[&str] =
                if kind == tar::EntryType::Regular { &["a.jpg", "b.jpg"] } else { &["a.jpg"] };
            assert_eq!(names(&source), kept, "{kind:?} {size}");
            assert!(source.notes()[0].contains("s.tar: "), "{:?}", source.notes());
        }
    }
}

#[test]
fn shards_that_go_or_change_end_loading_and_those_that_are_cut_have_bad_files() {
    let place = Place::new();
    let two = || {
        numbered(&place.path("0.tar"), &["a", "b", "c", "d"]);
        numbered(&place.path("1.tar"), &["e", "f"]);
        opened(&place.text("{0..1}.tar"), Split::Train).unwrap()
    };
    assert_eq!(load(two(), 0.0).unwrap().1.len(), 0);

    let source = two();
    fs::remove_file(place.path("1.tar")).unwrap();
    let Err(error) = load(source, 1.0) else { panic!("a shard is gone") };
    assert!(matches!(error, Error::ShardGone { .. }) && error.to_string().contains("1.tar"), "{error}");

    let source = two();
    numbered(&place.path("1.tar"), &["e", "f", "g", "h", "i", "j", "k", "l"]);
    let Err(error) = load(source, 1.0) else { panic!("a shard has changed") };
    assert!(matches!(error, Error::ShardChanged { .. }) && error.to_string().contains("1.tar"), "{error}");

    let source = two();
    let file = File::options().write(true).open(place.path("1.tar")).unwrap();
    file.set_len(2000).unwrap();
    let (seen, bad) = load(source, 0.5).unwrap();
    assert!(seen.len() == 4 && bad.len() == 2, "{seen:?} {bad:?}");
    assert!(bad[0].contains("1.tar: e.jpg: it was cut short: it has 2000 bytes"), "{bad:?}");
    let source = two();
    file.set_len(2000).unwrap();
    assert!(matches!(load(source, 0.1), Err(Error::TooManyBad { .. })));
}

/// Fewer open files than shards: loading ends, and no picture counts as bad.
#[cfg(unix)]
#[test]
fn too_many_open_files_are_no_bad_pictures() {
    const FOLDER: &str = "BEIT_TEST_SHARDS";
    let Ok(folder) = std::env::var(FOLDER) else {
        let place = Place::new();
        (0..60).for_each(|number| numbered(&place.path(&format!("{number:02}.tar")), &["a"]));
        // The limit is one of a process: this test again, alone in another.
        let run = "ulimit -n 40 && exec \"$0\" --exact tar_faults::too_many_open_files_are_no_bad_pictures";
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", run]).arg(std::env::current_exe().unwrap()).env(FOLDER, place.path(""));
        let said = shell.output().unwrap();
        let text = String::from_utf8_lossy(&said.stdout);
        assert!(said.status.success() && text.contains("1 passed"), "{text}");
        return;
    };
    let source = opened(&format!("{folder}{{00..59}}.tar"), Split::Train).unwrap();
    assert_eq!(source.len(), 60);
    let Err(error) = load(source, 1.0) else { panic!("60 shards in 40 open files") };
    assert!(matches!(error, Error::TooManyOpen { .. }) && error.to_string().contains("ulimit -n"), "{error}");
}
