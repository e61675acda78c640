//! Lists of machines, as SLURM writes them: `node[01-04,07],login`.

/// The first machine of a list.
pub(super) fn first(list: &str) -> String {
    let end = list.find(',').unwrap_or(list.len());
    let Some(open) = list.find('[').filter(|&open| open < end) else { return list[..end].to_owned() };
    let (name, rest) = (&list[..open], &list[open + 1..]);
    let close = rest.find(']').unwrap_or(rest.len());
    let number = rest[..close].split([',', '-']).next().unwrap_or_default();
    let after = rest.get(close + 1..).unwrap_or_default();
    // A name may have several ranges, and may go on after one.
    format!("{name}{number}{}", first(after))
}

/// Processes of every machine, where all have equally many: `4` or `4(x2)`.
pub(super) fn tasks_of_each(list: &str) -> Option<usize> {
    let (count, times) = list.split_once('(').unwrap_or((list, "x)"));
    times.strip_prefix('x')?.strip_suffix(')')?;
    count.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_machine() {
        for (list, host) in [
            ("node7", "node7"),
            ("login,node[1-3]", "login"),
            ("node[01-04,07],other", "node01"),
            ("gpu[3]", "gpu3"),
            ("rack[2-3]-node[08-11].cluster,other", "rack2-node08.cluster"),
            ("a,b", "a"),
            ("", ""),
            ("node[", "node"),
        ] {
            assert_eq!(first(list), host, "{list}");
        }
    }

    #[test]
    fn equally_many_tasks() {
        let found = ["4", "4(x2)", "4,3", "4(x2),3", "x", ""].map(tasks_of_each);
        assert_eq!(found, [Some(4), Some(4), None, None, None, None]);
    }
}
