//! Everything that torch.save writes, by value.

use super::*;

/// The name that PyTorch has for a type.
fn torch_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F64 => "float64",
        Dtype::F32 => "float32",
        Dtype::F16 => "float16",
        Dtype::BF16 => "bfloat16",
        Dtype::I64 => "int64",
        Dtype::I32 => "int32",
        Dtype::I16 => "int16",
        Dtype::I8 => "int8",
        Dtype::U16 => "uint16",
        Dtype::U8 => "uint8",
        Dtype::BOOL => "bool",
        other => panic!("{other:?} is in no golden"),
    }
}

fn found(file: &TorchFile) -> serde_json::Value {
    let tensor = |entry: &Entry| {
        serde_json::json!({
            "name": entry.name,
            "dtype": torch_name(entry.dtype),
            "shape": entry.shape,
            "crc32": crc32fast::hash(&file.bytes(&entry.name).unwrap()),
        })
    };
    file.entries().iter().map(tensor).collect()
}

#[test]
fn names_order_types_extents_and_bytes_are_those_of_torch() {
    let expected = expected();
    let files = expected["files"].as_object().unwrap();
    assert_eq!(files.len(), 12);
    for (name, tensors) in files {
        let path = golden(&format!("{name}.pth"));
        assert!(is_torch(&fs::read(&path).unwrap()[..16]), "{name}");
        let file = TorchFile::open(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(found(&file), *tensors, "{name}");
    }
}

#[test]
fn a_module_of_foreign_classes_has_the_names_of_its_state_dict() {
    for container in ["encoder.pth", "encoder_legacy.pth"] {
        let file = TorchFile::open(&golden(container)).unwrap();
        let names: Vec<&str> = file.entries().iter().map(|entry| entry.name.as_str()).collect();
        assert!(names.contains(&"blocks.group_1.block_1.res_path.conv_1.w"), "{container}: {names:?}");
        assert!(names.contains(&"blocks.group_2.block_1.id_path.b"), "{container}: {names:?}");
        assert!(!names.contains(&"scratch"), "{container}: a buffer that state_dict() leaves out");
    }
}

#[test]
fn a_dict_in_two_places_has_its_tensors_in_both() {
    let file = TorchFile::open(&golden("shared.pth")).unwrap();
    let both = ["model.cls_token", "model_ema.cls_token"].map(|name| file.bytes(name).unwrap());
    assert_eq!(both[0], both[1]);
}

#[test]
fn values_are_read_and_not_only_checksums() {
    let file = TorchFile::open(&golden("types.pth")).unwrap();
    assert_eq!(file.bytes("scalar").unwrap(), 2.5f32.to_le_bytes());
    assert_eq!(file.bytes("i64").unwrap(), [(-1i64).to_le_bytes(), (1i64 << 40).to_le_bytes()].concat());
    assert_eq!(file.bytes("bool").unwrap(), [1, 0, 1]);
    assert_eq!(file.bytes("u16").unwrap(), [0, 0, 255, 255]);
}

#[test]
fn an_absent_tensor_is_named() {
    let file = TorchFile::open(&golden("half.pth")).unwrap();
    let error = file.bytes("blocks.7").unwrap_err().to_string();
    assert!(error.contains("half.pth") && error.contains("there is no tensor `blocks.7`"), "{error}");
}

#[test]
fn other_files_are_told_apart() {
    let mut safetensors = 0x280u64.to_le_bytes().to_vec();
    safetensors.extend(b"{\"a\":");
    for other in [&safetensors[..], b"", b"P", b"\x89PNG\r\n\x1a\n", b"{\"model_type\": \"beit\"}"] {
        assert!(!is_torch(other), "{other:?}");
    }
    for torch in [&b"PK\x03\x04...."[..], b"\x80\x02}q\x00.", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."] {
        assert!(is_torch(torch), "{torch:?}");
    }
}
