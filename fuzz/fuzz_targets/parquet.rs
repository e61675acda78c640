//! Parquet files: their metadata, what they say of their columns, and the rows in them.
#![no_main]

use beit_data::{Source, Split, Table};

/// Columns that files of the corpus have.
const COLUMNS: [&str; 3] = ["", ",label=name", ",image=raw,label=small"];

// The crate that reads Parquet panics on some damaged pages. That is caught, and becomes an error; what is not caught ends the fuzzer still.
libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|_| ())), |bytes: &[u8]| {
    let path = beit_fuzz::file("train.parquet", bytes);
    for columns in COLUMNS {
        let Ok(table) = Table::parquet(&format!("{}{columns}", path.display()), Split::Train) else {
            continue;
        };
        beit_fuzz::read_rows(&table);
        let groups = table.groups().expect("rows of Parquet files lie in groups");
        assert!(groups.of(table.len() - 1) == groups.count() - 1, "groups have all rows");
    }
});
