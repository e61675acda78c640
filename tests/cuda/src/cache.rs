//! A cache of what the compiler measured, so that a later run compiles only what changed.

use crate::resources::REFUSED;
use crate::{Resources, Sm, Toolkit, toolkit};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

type Measured = (Resources, usize);

/// The result for this source, as it is compared, on this device: that of an earlier run, or else of `compile`. Errors are not cached.
pub(crate) fn get_or(
    source: &str,
    sm: Sm,
    compile: impl FnOnce() -> Result<Measured, String>,
) -> Result<Measured, String> {
    let Some(path) = path(source, sm) else { return compile() };
    if let Some(measured) = fs::read_to_string(&path).ok().and_then(|text| parse(&text)) {
        return Ok(measured);
    }
    let measured = compile()?;
    let folder = path.parent().expect("the cache is a folder");
    // The result is valid even where it cannot be written.
    let _ = fs::create_dir_all(folder).and_then(|()| fs::write(&path, format(&measured)));
    Ok(measured)
}

/// The file of a result. Its name is a digest of the source, the device, the compiler, and what is refused.
fn path(source: &str, sm: Sm) -> Option<PathBuf> {
    let compiler = Toolkit::find().ok()?.nvrtc().into_iter().next()?;
    let mut hasher = DefaultHasher::new();
    (source, sm, REFUSED, fs::canonicalize(&compiler).ok()?, fs::metadata(&compiler).ok()?.len())
        .hash(&mut hasher);
    Some(toolkit::target().join("compiled").join(format!("{:016x}", hasher.finish())))
}

fn format((r, cubin): &Measured) -> String {
    let numbers =
        [r.registers, r.spill_stores, r.spill_loads, r.stack, r.static_shared].map(|n| n.to_string());
    format!("{} {cubin} end", numbers.join(" "))
}

fn parse(text: &str) -> Option<Measured> {
    let numbers: Vec<u32> =
        text.strip_suffix(" end")?.split(' ').map(|n| n.parse().ok()).collect::<Option<_>>()?;
    let &[registers, spill_stores, spill_loads, stack, static_shared, cubin] = numbers.as_slice() else {
        return None;
    };
    Some((Resources { registers, spill_stores, spill_loads, stack, static_shared }, cubin as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_results_are_those_measured() {
        let resources =
            Resources { registers: 1, spill_stores: 2, spill_loads: 3, stack: 4, static_shared: 5 };
        assert_eq!(parse(&format(&(resources, 6))), Some((resources, 6)));
        assert_eq!(parse("1 2 3 4 5 6"), None, "a file that was not written to its end");
    }
}
