//! Wrong usage is told from failure: exit code 2 for what the flags alone make impossible, 1 for what went wrong.

use crate::signals;
use clap::ArgMatches;
use clap::parser::ValueSource;
use std::collections::HashSet;
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

/// 2 for wrong usage, 128 and the number of the signal where one ended it, 1 for failure.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    match error.chain().find_map(|cause| cause.downcast_ref()) {
        // The signal may have come to another process of the run.
        Some(beit::Error::Stopped(_)) => 128 + signals::received().unwrap_or(signals::TERM),
        _ if error.chain().any(is_usage) => 2,
        _ => 1,
    }
}

fn is_usage(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<Usage>() || error.downcast_ref().is_some_and(beit::Error::is_setting)
}

/// The flags that stand on the command line, as opposed to those that have a usual value: by the names of their fields.
pub(crate) struct Given(HashSet<String>);

impl Given {
    pub(crate) fn from_matches(matches: &ArgMatches) -> Self {
        // Those of the verb, and of the verb of a verb.
        if let Some((_, verb)) = matches.subcommand() {
            return Self::from_matches(verb);
        }
        let given = |id: &&clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        Self(matches.ids().filter(given).map(|id| id.as_str().to_owned()).collect())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// The same of the setting with this name in `run.toml`: the fields of structs in structs are flags of one name.
    pub(crate) fn has_path(&self, path: &str) -> bool {
        self.has(path.rsplit('.').next().unwrap_or(path))
    }

    /// Refuses flags that would have no effect, by the names of their fields.
    pub(crate) fn refuse(&self, fields: &[&str], belongs_to: &str) -> anyhow::Result<()> {
        match fields.iter().find(|field| self.has(field)) {
            Some(field) => usage!("--{} belongs to {belongs_to}: leave it out", field.replace('_', "-")),
            None => Ok(()),
        }
    }
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
