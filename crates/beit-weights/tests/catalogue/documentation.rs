//! `docs/weights.md` lists what the catalogue has.

use beit_weights::catalogue;
use std::path::Path;

/// 1234567 as 1,234,567.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|c| str::from_utf8(c).unwrap()).collect();
    groups.join(",")
}

#[test]
fn the_table_has_every_entry() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/weights.md");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for entry in catalogue() {
        let (name, parameters) = (format!("`{}`", entry.name), grouped(entry.parameters));
        let row = text.lines().find(|line| line.starts_with('|') && line.contains(&name));
        let row = row.unwrap_or_else(|| panic!("no row of {name}"));
        assert!(row.contains(&parameters), "{name}: expected {parameters} in {row}");
        for hub in &entry.hub {
            assert!(row.contains(&hub.id), "{name}: expected {} in {row}", hub.id);
        }
        let licence = entry.licence.as_deref().unwrap_or("not stated");
        let (family, licence) = (format!("| `{}` |", entry.family.name()), format!("| {licence} |"));
        let stated = text.lines().any(|line| line.starts_with(&family) && line.contains(&licence));
        assert!(stated, "{name}: expected a row with {family} and {licence}");
        let scores = entry.published.iter().chain(&entry.reevaluated);
        for top1 in scores.filter_map(|score| score.top1.or(score.miou)) {
            assert!(text.contains(&top1.to_string()), "{name}: expected {top1}");
        }
    }
}
