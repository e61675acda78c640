//! Wrong usage is told from failure: exit code 2 for what the flags alone make impossible, 1 for what went wrong.

use std::ffi::OsString;
use std::fmt;

/// An error in how a verb was called.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Ends the verb with a [`Usage`] error.
macro_rules! usage {
    ($($message:tt)*) => { return Err(anyhow::Error::new($crate::usage::Usage(format!($($message)*)))) };
}
pub(crate) use usage;

/// 2 for wrong usage, 1 for failure.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    if error.chain().any(is_usage) { 2 } else { 1 }
}

fn is_usage(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<Usage>() || error.downcast_ref().is_some_and(beit::Error::is_setting)
}

/// `--batch_size` is `--batch-size`: the flags of the official scripts work as they are written there.
pub(crate) fn dashes(args: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    args.map(|arg| match arg.to_str().filter(|arg| arg.starts_with("--")) {
        None => arg,
        Some(text) => {
            let (flag, value) = text.find('=').map_or((text, ""), |at| text.split_at(at));
            OsString::from(format!("{}{value}", flag.replace('_', "-")))
        }
    })
}

/// How this program was called.
pub(crate) fn command() -> String {
    let args = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    std::iter::once("cargo xtask".to_owned()).chain(args).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn underscores_in_flags_only() {
        let args = ["xtask", "--batch_size", "8", "--data=folder:my_photos", "my_file", "--a_b=c_d"];
        let got: Vec<_> = dashes(args.iter().map(OsString::from)).collect();
        assert_eq!(got, ["xtask", "--batch-size", "8", "--data=folder:my_photos", "my_file", "--a-b=c_d"]);
    }
}
