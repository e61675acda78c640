//! Arrow files: their messages, what they say of their columns, and the rows in them.

use beit_data::{Source, Split, Table};

/// Columns that files of the corpus have.
const COLUMNS: [&str; 3] = ["", ",label=name", ",image=raw,label=small"];

pub(crate) fn run(bytes: &[u8]) {
    let path = crate::file("train.arrow", bytes);
    for columns in COLUMNS {
        let Ok(table) = Table::arrow(&format!("{}{columns}", path.display()), Split::Train) else { continue };
        for index in (0..table.len()).take(8) {
            let length = table.file(index).map_or(0, |picture| picture.len());
            assert!(length <= bytes.len(), "a picture is longer than the file");
        }
        crate::read_rows(&table);
        assert!(table.groups().is_none(), "a picture of an Arrow file is read alone");
    }
}
