//! Parquet files: their metadata, what they say of their columns, and the rows in them.

use beit_data::{Source, Split, Table};

/// Columns that files of the corpus have.
const COLUMNS: [&str; 3] = ["", ",label=name", ",image=raw,label=small"];

pub(crate) fn run(bytes: &[u8]) {
    let path = crate::file("train.parquet", bytes);
    for columns in COLUMNS {
        let Ok(table) = Table::parquet(&format!("{}{columns}", path.display()), Split::Train) else {
            continue;
        };
        crate::read_rows(&table);
        let groups = table.groups().expect("rows of Parquet files lie in groups");
        assert!(groups.of(table.len() - 1) == groups.count() - 1, "groups have all rows");
    }
}
