//! Names of kernels and of their variants.

use crate::Kernel;
use std::hash::{DefaultHasher, Hash, Hasher};

/// `beit_cubecl::kernels::product::Product<f32, Fake<Check>>` as `Product<f32>`.
pub(crate) fn kernel(path: &str) -> String {
    let name = without_paths(path);
    match name.find("Fake<") {
        None => name,
        Some(runtime) => {
            let before = name[..runtime].trim_end_matches([' ', ',', '<']);
            let open = before.matches('<').count() - before.matches('>').count();
            format!("{before}{}", ">".repeat(open))
        }
    }
}

/// What a kernel was specialised by: of the debug form of its id, the fields that not all kernels have.
pub(crate) fn variant(id: &str) -> String {
    let info = id.split_once("info: ").map_or("", |(_, info)| info);
    let info = info.strip_suffix(" }").unwrap_or(info);
    // The name of the structure repeats the kernel's.
    let fields = info.split_once("Info { ").map_or(info, |(_, fields)| fields);
    let mut fields = fields.strip_suffix(" }").unwrap_or(fields).to_owned();
    // Buffers say whether they share memory with another, which ours never do.
    while let Some(end) = fields.find("ArrayCompilationArg { inplace: None }") {
        let begin = fields[..end].rfind(", ").map_or(0, |i| i);
        let after = end + "ArrayCompilationArg { inplace: None }".len();
        fields.replace_range(begin..after, "");
    }
    fields.trim_start_matches([' ', ',']).to_owned()
}

/// Writes the source of a kernel to the folder `CUDA_CHECK_SOURCES`, if that is set, for reading.
pub(crate) fn dump_source(kernel: &Kernel) {
    if let Some(folder) = std::env::var_os("CUDA_CHECK_SOURCES") {
        let mut hasher = DefaultHasher::new();
        kernel.source.hash(&mut hasher);
        let file = format!("{}-{:08x}.cu", kernel.entry, hasher.finish() as u32);
        std::fs::write(std::path::Path::new(&folder).join(file), &kernel.source)
            .expect("the folder is writable");
    }
}

fn without_paths(path: &str) -> String {
    let mut out = String::new();
    for part in path.split_inclusive(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
        let start = part.rfind("::").map_or(0, |i| i + 2);
        out.push_str(&part[start..]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short() {
        let path = "a::b::Product<f32, half::bf16, cuda_check::runtime::Fake<cuda_check::check::Check>>";
        assert_eq!(kernel(path), "Product<f32, bf16>");
        assert_eq!(kernel("a::Sum<cuda_check::Fake<x::Check>>"), "Sum");
    }

    #[test]
    fn variants_say_what_differs() {
        let id = "KernelId { type: a::Hungry<Fake<Check>>, address_type: U32, mode: Unchecked, info: HungryInfo { x: \
                  ArrayCompilationArg { inplace: None }, floats: 45, y: ArrayCompilationArg { inplace: None } } }";
        assert_eq!(variant(id), "floats: 45");
    }
}
