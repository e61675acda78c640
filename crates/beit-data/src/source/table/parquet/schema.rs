//! What the columns of a file may be read as.

use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as Physical};
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::Type;

use super::super::columns::{Column, Kind};

/// The columns of a file, each with the number of its leaf.
pub(super) fn columns(metadata: &ParquetMetaData) -> Vec<Column<usize>> {
    let schema = metadata.file_metadata().schema_descr();
    let mut next = 0;
    let roots = schema.root_schema().get_fields().iter();
    roots
        .map(|root| {
            let first = next;
            next += leaves(root);
            Column { name: root.name().to_owned(), kind: kind(root, first) }
        })
        .collect()
}

fn leaves(node: &Type) -> usize {
    match node.is_primitive() {
        true => 1,
        false => node.get_fields().iter().map(|field| leaves(field)).sum(),
    }
}

/// What a column whose first leaf is `first` may be read as.
fn kind(root: &Type, first: usize) -> Kind<usize> {
    let info = root.get_basic_info();
    if info.has_repetition() && info.repetition() == Repetition::REPEATED {
        return Kind::Other("a list".to_owned());
    }
    if root.is_primitive() {
        return leaf_kind(root, first);
    }
    let mut leaf = first;
    for field in root.get_fields() {
        let plain = field.is_primitive() && field.get_basic_info().repetition() != Repetition::REPEATED;
        if field.name() == "bytes" && plain && field.get_physical_type() == Physical::BYTE_ARRAY {
            return Kind::Picture(leaf);
        }
        leaf += leaves(field);
    }
    Kind::Other(
        if info.logical_type_ref() == Some(&LogicalType::List) { "a list" } else { "a struct without bytes" }
            .to_owned(),
    )
}

fn leaf_kind(leaf: &Type, at: usize) -> Kind<usize> {
    let info = leaf.get_basic_info();
    let is_text = matches!(info.logical_type_ref(), Some(LogicalType::String))
        || info.converted_type() == ConvertedType::UTF8;
    let is_whole = match info.logical_type_ref() {
        Some(logical) => matches!(logical, LogicalType::Integer { .. }),
        None => matches!(
            info.converted_type(),
            ConvertedType::NONE
                | ConvertedType::INT_8
                | ConvertedType::INT_16
                | ConvertedType::INT_32
                | ConvertedType::INT_64
                | ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64
        ),
    };
    match leaf.get_physical_type() {
        Physical::BYTE_ARRAY if is_text => Kind::Text(at),
        Physical::BYTE_ARRAY => Kind::Bytes(at),
        Physical::INT32 | Physical::INT64 if is_whole => Kind::Integer(at),
        other => Kind::Other(other.to_string().to_lowercase()),
    }
}
