//! Arrow files: their messages, what they say of their columns, and the rows in them.
#![no_main]

use beit_data::{Source, Split, Table};

/// Columns that files of the corpus have.
const COLUMNS: [&str; 3] = ["", ",label=name", ",image=raw,label=small"];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let path = beit_fuzz::file("train.arrow", bytes);
    for columns in COLUMNS {
        let Ok(table) = Table::arrow(&format!("{}{columns}", path.display()), Split::Train) else { continue };
        let classes = table.class_names().len();
        for index in (0..table.len()).take(8).chain(table.len().saturating_sub(1)..table.len()) {
            assert!(table.label(index).is_none_or(|class| (class as usize) < classes), "a class beyond {classes}");
            if let Ok(picture) = table.file(index) {
                assert!(picture.len() <= bytes.len(), "a picture is longer than the file");
            }
        }
        let groups = table.groups().expect("a table has groups");
        assert!(groups.of(table.len() - 1) == groups.count() - 1, "groups have all rows");
    }
});
