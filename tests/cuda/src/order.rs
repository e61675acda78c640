//! What CubeCL writes in an order that differs from run to run.
//!
//! Its compiler keeps the structures, the mutable variables and the shared arrays of a kernel in hash tables. The same kernel is
//! another text in every run, and in one run where it is translated twice. Compilers take long, so equal kernels must be seen to be equal.

/// The source with such lines in the order of their letters, and without the places of shared arrays in shared memory, which follow
/// from their order. Two sources of which this is equal are the same kernel. It is for comparison and is not compiled.
pub(crate) fn in_order(source: &str) -> String {
    let (mut out, mut run) = (Vec::new(), Vec::new());
    let mut lines = source.lines().peekable();
    while let Some(line) = lines.next() {
        let item = if line.starts_with(STRUCTURE) {
            let rest = std::iter::from_fn(|| lines.next_if(|&next| next != "};")).collect::<Vec<_>>();
            // The end of the structure, and the empty line that may be after it.
            lines.next();
            lines.next_if(|next| next.trim().is_empty());
            format!("{line}\n{}\n}};", rest.join("\n"))
        } else if line.starts_with(SHARED) {
            let array = lines.next().unwrap_or_default();
            format!("{line}\n{}", array.split("dynamic_shared_mem[").next().unwrap_or_default())
        } else if is_mutable(line) {
            line.to_owned()
        } else {
            flush(&mut run, &mut out);
            out.push(line.to_owned());
            continue;
        };
        run.push(item);
    }
    flush(&mut run, &mut out);
    out.join("\n")
}

const STRUCTURE: &str = "struct __align__";
const SHARED: &str = "// Shared array size";

/// `float l_mut_7;`: a variable without its first value.
fn is_mutable(line: &str) -> bool {
    let words = line.trim().strip_suffix(';').and_then(|line| line.rsplit_once(' '));
    words.is_some_and(|(kind, name)| !kind.contains('=') && name.starts_with("l_mut_"))
}

fn flush(run: &mut Vec<String>, out: &mut Vec<String>) {
    run.sort();
    out.append(run);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "#include <cuda_runtime.h>
struct __align__(8) a_2 {
    a i_0;
};
struct __align__(4) b_2 {
    b i_0;
};

void kernel() {
// Shared array size: 256, 1024 bytes
float *shared_memory_3 = reinterpret_cast<float*>(&dynamic_shared_mem[0]);
// Shared array size: 64, 256 bytes
float *shared_memory_9 = reinterpret_cast<float*>(&dynamic_shared_mem[1024]);
float l_mut_1;
uint32 l_mut_2;
l_mut_2 = 5;
l_mut_1 = 7;
}
";

    const OTHER: &str = "#include <cuda_runtime.h>
struct __align__(4) b_2 {
    b i_0;
};
struct __align__(8) a_2 {
    a i_0;
};

void kernel() {
// Shared array size: 64, 256 bytes
float *shared_memory_9 = reinterpret_cast<float*>(&dynamic_shared_mem[0]);
// Shared array size: 256, 1024 bytes
float *shared_memory_3 = reinterpret_cast<float*>(&dynamic_shared_mem[256]);
uint32 l_mut_2;
float l_mut_1;
l_mut_2 = 5;
l_mut_1 = 7;
}
";

    #[test]
    fn the_same_kernel_is_equal() {
        assert_ne!(ONE, OTHER);
        assert_eq!(in_order(ONE), in_order(OTHER));
    }

    #[test]
    fn another_kernel_is_not() {
        for (from, to) in [
            ("l_mut_2 = 5;\nl_mut_1 = 7;", "l_mut_1 = 7;\nl_mut_2 = 5;"),
            ("float l_mut_1;", "uint32 l_mut_1;"),
            ("float l_mut_1;\n", ""),
            ("size: 64, 256", "size: 65, 260"),
            ("shared_memory_9", "shared_memory_8"),
            ("a i_0;", "a i_0;\n    a i_1;"),
        ] {
            assert!(ONE.contains(from), "{from}");
            assert_ne!(in_order(ONE), in_order(&ONE.replace(from, to)), "{from}");
        }
    }
}
