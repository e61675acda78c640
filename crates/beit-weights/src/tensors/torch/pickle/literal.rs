//! Opcodes that are a value in themselves.

use super::super::fault::{Found, unreadable};
use super::opcode as op;
use super::stream::Stream;
use super::value::Value;

/// The value that an opcode spells, if it is one that spells a value.
pub(super) fn literal<'a>(opcode: u8, input: &mut Stream<'a>) -> Found<Option<Value<'a>>> {
    let value = match opcode {
        op::NONE => Value::None,
        op::NEWTRUE => Value::Bool(true),
        op::NEWFALSE => Value::Bool(false),
        op::BININT => Value::Int(i32::from_le_bytes(input.array()?).into()),
        op::BININT1 => Value::Int(input.byte()?.into()),
        op::BININT2 => Value::Int(u16::from_le_bytes(input.array()?).into()),
        op::LONG1 => long(input.counted::<1>()?),
        op::LONG4 => long(input.counted::<4>()?),
        op::INT | op::LONG => decimal(input.line()?)?,
        op::BINUNICODE | op::BINSTRING => text(input.counted::<4>()?),
        op::SHORT_BINUNICODE | op::SHORT_BINSTRING => text(input.counted::<1>()?),
        op::BINUNICODE8 => text(input.counted::<8>()?),
        op::STRING => unescaped(input.line()?.trim_matches(['\'', '"'])),
        op::UNICODE => unescaped(input.line()?),
        _ => return nameless(opcode, input),
    };
    Ok(Some(value))
}

/// Reals and bytes: they are passed over.
fn nameless<'a>(opcode: u8, input: &mut Stream<'a>) -> Found<Option<Value<'a>>> {
    match opcode {
        op::FLOAT => _ = input.line()?,
        op::BINFLOAT => _ = input.take(8)?,
        op::SHORT_BINBYTES => _ = input.counted::<1>()?,
        op::BINBYTES => _ = input.counted::<4>()?,
        op::BINBYTES8 | op::BYTEARRAY8 => _ = input.counted::<8>()?,
        _ => return Ok(None),
    }
    Ok(Some(Value::Other))
}

/// Two's complement of any length; what does not fit 64 bits is no extent and no offset.
fn long<'a>(bytes: &[u8]) -> Value<'a> {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    match wide.get_mut(..bytes.len()) {
        Some(low) => {
            low.copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(wide))
        }
        None => Value::Other,
    }
}

/// Protocol 0 spells truth values with two digits.
fn decimal(line: &str) -> Found<Value<'_>> {
    let digits = line.trim_end_matches('L');
    match digits {
        "00" => Ok(Value::Bool(false)),
        "01" => Ok(Value::Bool(true)),
        _ if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => {
            unreadable(format_args!("its pickle has `{}` for a number", line.escape_debug()))
        }
        _ => Ok(digits.parse().map_or(Value::Other, Value::Int)),
    }
}

/// Python 2 has bytes for text, which may be anything.
fn text(bytes: &[u8]) -> Value<'_> {
    std::str::from_utf8(bytes).map_or(Value::Other, Value::Text)
}

/// Text of protocol 0, which torch.save does not write; a name in it would need no escapes.
fn unescaped(line: &str) -> Value<'_> {
    if line.contains('\\') { Value::Other } else { Value::Text(line) }
}
