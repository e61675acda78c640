//! Where the columns of a record batch lie among its nodes and buffers.
//!
//! A batch has its nodes (a length and a number of nulls) and its buffers in the order of its fields, each field before the fields inside
//! it. How many of them a field has, its type says: <https://arrow.apache.org/docs/format/Columnar.html>.

use arrow_ipc::{Field, Schema, Type, UnionMode};

use super::super::columns::{Column, Kind};

/// Fields inside fields that are followed.
const MAX_DEPTH: usize = 64;

/// The first node and the first buffer of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Place {
    pub(super) node: usize,
    pub(super) buffer: usize,
    /// Fields before it whose number of buffers each batch says for itself.
    pub(super) views: usize,
}

/// A column that is read, and how its values are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Leaf {
    pub(super) place: Place,
    pub(super) store: Store,
}

/// How the values of a column are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Store {
    /// Bytes, with offsets of so many bytes.
    Bytes { offset: usize },
    /// Integers of so many bytes.
    Integers { bytes: usize, signed: bool },
}

/// Where a column lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct At {
    /// The struct around it.
    pub(super) outer: Option<Place>,
    pub(super) leaf: Leaf,
    /// Paths beside the bytes of pictures.
    pub(super) path: Option<Leaf>,
}

/// The columns of a schema.
pub(super) fn columns(schema: Schema<'_>) -> Result<Vec<Column<At>>, String> {
    let mut place = Place::default();
    let fields = schema.fields().into_iter().flatten();
    fields
        .map(|field| {
            let column =
                Column { name: field.name().unwrap_or_default().to_owned(), kind: kind(field, place) };
            place = after(field, place, 0)?;
            Ok(column)
        })
        .collect()
}

fn kind(field: Field<'_>, place: Place) -> Kind<At> {
    let other = || Kind::Other(told(field).to_owned());
    if field.dictionary().is_some() {
        return Kind::Other("a dictionary".to_owned());
    }
    if field.type_type() == Type::Struct_ {
        return picture(field, place).map_or_else(other, Kind::Picture);
    }
    let Some(leaf) = leaf(field, place) else { return other() };
    let at = At { outer: None, leaf, path: None };
    match (field.type_type(), leaf.store) {
        (Type::Binary | Type::LargeBinary, _) => Kind::Bytes(at),
        (Type::Utf8 | Type::LargeUtf8, _) => Kind::Text(at),
        (_, Store::Integers { .. }) => Kind::Integer(at),
        _ => other(),
    }
}

/// A struct with `bytes`, and perhaps `path`.
fn picture(field: Field<'_>, place: Place) -> Option<At> {
    let mut inside = Place { node: place.node + 1, buffer: place.buffer + 1, ..place };
    let (mut bytes, mut path) = (None, None);
    for child in field.children()? {
        let is_bytes = matches!(child.type_type(), Type::Binary | Type::LargeBinary);
        let is_text = matches!(child.type_type(), Type::Utf8 | Type::LargeUtf8);
        match child.name() {
            Some("bytes") if is_bytes => bytes = leaf(child, inside),
            Some("path") if is_text => path = leaf(child, inside),
            _ => {}
        }
        inside = after(child, inside, 1).ok()?;
    }
    Some(At { outer: Some(place), leaf: bytes?, path })
}

fn leaf(field: Field<'_>, place: Place) -> Option<Leaf> {
    let store = match field.type_type() {
        _ if field.dictionary().is_some() => return None,
        Type::Binary | Type::Utf8 => Store::Bytes { offset: 4 },
        Type::LargeBinary | Type::LargeUtf8 => Store::Bytes { offset: 8 },
        Type::Int => {
            let int = field.type_as_int()?;
            let bytes = [8, 16, 32, 64].contains(&int.bitWidth()).then_some(int.bitWidth() as usize / 8)?;
            Store::Integers { bytes, signed: int.is_signed() }
        }
        _ => return None,
    };
    Some(Leaf { place, store })
}

/// The place behind a field.
fn after(field: Field<'_>, place: Place, depth: usize) -> Result<Place, String> {
    if depth > MAX_DEPTH {
        return Err(format!(
            "column `{}` is nested more than {MAX_DEPTH} deep",
            field.name().unwrap_or_default()
        ));
    }
    let is_view =
        field.dictionary().is_none() && matches!(field.type_type(), Type::BinaryView | Type::Utf8View);
    let (buffers, nested) = buffers(field)?;
    let mut next = Place {
        node: place.node + 1,
        buffer: place.buffer + buffers,
        views: place.views + usize::from(is_view),
    };
    if nested {
        for child in field.children().into_iter().flatten() {
            next = after(child, next, depth + 1)?;
        }
    }
    Ok(next)
}

/// Buffers of a field itself, and whether the fields inside it follow.
fn buffers(field: Field<'_>) -> Result<(usize, bool), String> {
    if field.dictionary().is_some() {
        return Ok((2, false));
    }
    Ok(match field.type_type() {
        Type::Null => (0, false),
        Type::Binary | Type::LargeBinary | Type::Utf8 | Type::LargeUtf8 => (3, false),
        Type::Int
        | Type::FloatingPoint
        | Type::Bool
        | Type::Decimal
        | Type::Date
        | Type::Time
        | Type::Timestamp => (2, false),
        Type::Interval | Type::Duration | Type::FixedSizeBinary | Type::BinaryView | Type::Utf8View => {
            (2, false)
        }
        Type::Struct_ | Type::FixedSizeList => (1, true),
        Type::List | Type::LargeList | Type::Map => (2, true),
        Type::ListView | Type::LargeListView => (3, true),
        Type::RunEndEncoded => (0, true),
        Type::Union => {
            let dense = field.type_as_union().is_some_and(|union| union.mode() == UnionMode::Dense);
            (1 + usize::from(dense), true)
        }
        other => {
            return Err(format!(
                "column `{}` has a type that is not known, {}",
                field.name().unwrap_or_default(),
                other.0
            ));
        }
    })
}

/// A type, for people.
fn told(field: Field<'_>) -> &'static str {
    match field.type_type() {
        Type::Struct_ => "a struct without bytes",
        Type::List | Type::LargeList | Type::FixedSizeList | Type::ListView | Type::LargeListView => "a list",
        other => other.variant_name().unwrap_or("an unknown type"),
    }
}
