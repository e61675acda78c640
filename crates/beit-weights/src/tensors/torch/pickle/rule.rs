//! What a name in a pickle may be used for.
//!
//! A pickle is a program: it imports names and calls them. Nothing of it runs here, so the rule is about honesty: a file that asks
//! for more than weights need is refused by name instead of being read in part.
//!
//! 1. Functions that rebuild tensors and plain collections are interpreted.
//! 2. Constructors of inert Python values that training scripts leave behind may be called; what they would make is not looked at.
//! 3. Everything else of Python's library and of torch is refused where it is imported, except what torch has for models to be
//!    made of: layers, optimisers, element types, storages.
//! 4. Names of other packages are data: a class whose instance's attributes are read, or a function that lies in an attribute.
//!    Calling one, with arguments or through a trick, is refused.

use super::python::is_standard;
use super::value::Global;

/// What happens when a name is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Makes a dict.
    Dict,
    /// Makes a list, tuple or set.
    Sequence,
    /// `torch._utils._rebuild_tensor...`
    Tensor(Rebuild),
    /// Makes a tensor that is not read, of this kind.
    Unread(&'static str),
    /// `torch._utils._rebuild_parameter...`: its first argument is the tensor.
    Parameter,
    /// `torch._tensor._rebuild_from_type_v2`: calls its first argument with the third.
    FromType,
    /// `copyreg._reconstructor`: an instance of a class, in protocols below 2.
    Instance,
    /// Makes something that is passed over.
    Inert,
    /// Must not be called.
    Data,
}

/// The generations of functions that rebuild a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rebuild {
    /// `_rebuild_tensor(storage, offset, shape, stride)`
    V1,
    /// ...`, requires_grad, hooks)`
    V2,
    /// ...`, requires_grad, hooks, dtype)`, for types without a storage class.
    V3,
}

/// What a name may be used for; `None` if it must not even be imported.
pub(super) fn role(global: Global<'_>) -> Option<Role> {
    let Global { module, name } = global;
    match module {
        "torch._utils" | "torch._tensor" => rebuilds(module, name),
        _ if is_standard(module) => standard(module, name),
        _ if module == "torch" || module.starts_with("torch.") => torch(module, name),
        _ if is_inert_package(module, name) => Some(Role::Inert),
        _ => Some(Role::Data).filter(|_| is_plain(name)),
    }
}

fn rebuilds(module: &str, name: &str) -> Option<Role> {
    match (module, name) {
        ("torch._utils", "_rebuild_tensor") => Some(Role::Tensor(Rebuild::V1)),
        ("torch._utils", "_rebuild_tensor_v2") => Some(Role::Tensor(Rebuild::V2)),
        ("torch._utils", "_rebuild_tensor_v3") => Some(Role::Tensor(Rebuild::V3)),
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Some(Role::Parameter),
        ("torch._tensor", "_rebuild_from_type_v2") => Some(Role::FromType),
        ("torch._utils", "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor") => {
            Some(Role::Unread("sparse"))
        }
        ("torch._utils", "_rebuild_wrapper_subclass") => {
            Some(Role::Unread("of a class of its own, as quantised ones are"))
        }
        ("torch._utils", "_rebuild_qtensor") => Some(Role::Unread("quantised")),
        ("torch._utils", "_rebuild_nested_tensor") => Some(Role::Unread("nested")),
        ("torch._utils", "_rebuild_meta_tensor_no_storage") => {
            Some(Role::Unread("meta, without any numbers"))
        }
        ("torch._utils", "_rebuild_device_tensor_from_numpy" | "_rebuild_device_tensor_from_cpu_tensor") => {
            Some(Role::Unread("of a device that torch keeps apart"))
        }
        _ => None,
    }
}

/// Python's library, `__builtin__` and `copy_reg` being what version 2 calls them.
fn standard(module: &str, name: &str) -> Option<Role> {
    match (module, name) {
        ("collections", "OrderedDict") | ("builtins" | "__builtin__", "dict") => Some(Role::Dict),
        ("builtins" | "__builtin__", "set" | "frozenset" | "list" | "tuple") => Some(Role::Sequence),
        ("copyreg" | "copy_reg", "_reconstructor") => Some(Role::Instance),
        (
            "builtins" | "__builtin__",
            "object" | "bool" | "int" | "float" | "complex" | "str" | "bytes" | "bytearray" | "slice"
            | "range",
        )
        | ("collections", "defaultdict" | "Counter" | "deque")
        | ("argparse", "Namespace")
        | ("types", "SimpleNamespace")
        | ("functools", "partial")
        | ("datetime", "datetime" | "date" | "time" | "timedelta" | "timezone")
        | (
            "pathlib" | "pathlib._local",
            "Path" | "PosixPath" | "WindowsPath" | "PurePath" | "PurePosixPath" | "PureWindowsPath",
        )
        | ("_codecs", "encode") => Some(Role::Inert),
        _ => None,
    }
}

fn torch(module: &str, name: &str) -> Option<Role> {
    let of_models = ["torch.nn.", "torch.optim.", "torch._C._nn."].iter().any(|&of| {
        // `torch.nn` itself has names too.
        module.starts_with(of) || module == of.trim_end_matches('.')
    });
    match (module, name) {
        ("torch", "Size") => Some(Role::Sequence),
        ("torch", "device") | ("torch.serialization", "_get_layout") => Some(Role::Inert),
        // A table of functions in models of torch 1.1 and older.
        ("torch.nn.backends.thnn", "_get_thnn_function_backend") => Some(Role::Inert),
        ("torch" | "torch.storage", _) if name.ends_with("Storage") => Some(Role::Data),
        ("torch" | "torch.cuda", _) if name.ends_with("Tensor") => Some(Role::Data),
        ("torch", _) if is_element_type(name) || is_scheme(name) => Some(Role::Data),
        _ if of_models && is_plain(name) => Some(Role::Data),
        _ => None,
    }
}

/// Types of elements, among them those that are not read: an attribute may hold one.
fn is_element_type(name: &str) -> bool {
    let digits = name.trim_start_matches(|letter: char| letter.is_ascii_lowercase());
    let kind = &name[..name.len() - digits.len()];
    match kind {
        "float" | "bfloat" | "complex" | "int" | "uint" | "qint" | "quint" => {
            digits.starts_with(|digit: char| digit.is_ascii_digit())
        }
        _ => digits.is_empty() && matches!(kind, "bool" | "half" | "double" | "long" | "short"),
    }
}

/// Ways of quantising, which a quantised tensor names.
fn is_scheme(name: &str) -> bool {
    let scheme = name.strip_prefix("per_tensor_").or(name.strip_prefix("per_channel_"));
    scheme.is_some_and(|scheme| matches!(scheme, "affine" | "symmetric" | "affine_float_qparams"))
}

/// Scalars and arrays of numpy and an enumeration that timm's layers have; their values are passed over.
fn is_inert_package(module: &str, name: &str) -> bool {
    match module {
        "numpy" => matches!(name, "dtype" | "ndarray"),
        "timm.layers.format" => name == "Format",
        "numpy.core.multiarray" | "numpy._core.multiarray" => matches!(name, "scalar" | "_reconstruct"),
        _ => false,
    }
}

/// A dotted name is looked up attribute by attribute, and modules have the modules that they import as attributes: `os.system`
/// within any module that imports `os` is still `os.system`. Only classes have parts that a model may need.
fn is_plain(name: &str) -> bool {
    let of_class = name.trim_start_matches('_').starts_with(|letter: char| letter.is_ascii_uppercase());
    !name.contains('.') || of_class && !name.split('.').any(is_standard)
}
