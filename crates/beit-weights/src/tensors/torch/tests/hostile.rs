//! Pickles that want something done.

use super::*;

/// The pickle, in each of the three ways in which it can reach the reader.
fn containers(pickle: &[u8]) -> [Vec<u8>; 3] {
    [pickle.to_vec(), written::archive(&[("data.pkl", pickle)]), written::legacy(pickle, &[])]
}

#[test]
fn what_a_pickle_wants_to_call_is_said_and_not_done() {
    let expected = expected();
    let pickles = expected["hostile"].as_object().unwrap();
    assert_eq!(pickles.len(), 27);
    for (name, callable) in pickles {
        let pickle = fs::read(golden(&format!("hostile/{name}.pkl"))).unwrap();
        assert!(is_torch(&pickle), "{name}");
        for file in containers(&pickle) {
            let error = open(&file).unwrap_err();
            let refused = matches!(&error, Error::Calls { callable: found, .. } if found == callable);
            assert!(refused, "{name}, expected {callable}: {error}");
        }
    }
}

#[test]
fn the_message_names_file_and_function() {
    let message = problem(b"cposix\nsystem\n(Vtrue\ntR.");
    assert!(
        message.contains("weights.pth wants to call posix.system, which weights do not need"),
        "{message}"
    );
}

#[test]
fn leftovers_of_training_scripts_are_no_calls() {
    let pickles: [&[u8]; 7] = [
        b"\x80\x02}U\x04argscargparse\nNamespace\n)\x81}U\x02lrK\x01sbs.",
        b"\x80\x02}U\x01acdall_e.utils\nConv2d\ns.",
        b"\x80\x02}U\x01acnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02f8K\x00K\x01\x87RU\x04\x00\xff\x00\xff\x86Rs.",
        b"\x80\x02}U\x01actorch\nfloat32\ns.",
        b"ccopy_reg\n_reconstructor\n(cmy.code\nNet\nc__builtin__\nobject\nNtR.",
        b"\x80\x02}U\x01actorch.nn.functional\ngelu\ns.",
        b"\x80\x02}U\x01actimm.layers.format\nFormat\nU\x04NCHW\x85Rs.",
    ];
    for pickle in pickles {
        let file = written::archive(&[("data.pkl", pickle)]);
        let file = open(&file).unwrap_or_else(|error| panic!("{}: {error}", pickle.escape_ascii()));
        assert_eq!(file.entries(), []);
    }
}

#[test]
fn nothing_of_torch_or_python_is_imported_but_what_models_are_made_of() {
    for refused in [
        "torch load",
        "torch.hub load",
        "torch.jit load",
        "torch.utils.cpp_extension load",
        "torch.storage _load_from_bytes",
        "torch._utils _import_dotted_name",
        "torch.nn.modules os.system",
        "my.code subprocess.Popen",
        "builtins exec",
        "importlib import_module",
        "operator attrgetter",
        "pickle loads",
    ] {
        let (module, name) = refused.split_once(' ').unwrap();
        let pickle = [&b"\x80\x02c"[..], module.as_bytes(), b"\n", name.as_bytes(), b"\n."].concat();
        let message = problem(&pickle);
        assert!(message.contains(&format!("wants to call {module}.{name}")), "{message}");
    }
}
