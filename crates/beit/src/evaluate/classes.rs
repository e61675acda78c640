//! Which class of a model a class of the data is.

use crate::error::{Error, Result, unfit};
use std::collections::BTreeMap;

/// Names that an error lists.
const LISTED: usize = 10;

/// For each class of the data, its number in the model. The data may have some of the model's classes only.
#[derive(Debug, PartialEq)]
pub(crate) struct ClassMap {
    of_data: Vec<u32>,
}

impl ClassMap {
    /// Finds the counterpart of each class: the class of the same name; else the class of ImageNet that `by_wnid` finds
    /// (`n01440764`); else, where the model's classes have no names (`LABEL_7`), the class of that number.
    pub(crate) fn build(
        data_classes: &[String],
        model_classes: &[String],
        by_wnid: impl Fn(&str) -> Option<usize>,
    ) -> Result<Self> {
        let nameless = model_classes.iter().enumerate().all(|(i, name)| *name == format!("LABEL_{i}"));
        let mut taken = BTreeMap::new();
        let mut find = |name: &String| -> Result<u32> {
            let number = || name.parse().ok().filter(|_| nameless);
            let found = by_name(name, model_classes)?.or_else(|| by_wnid(name)).or_else(number);
            let class = found.filter(|&class| class < model_classes.len()).ok_or_else(|| {
                Error::Unfit(format!(
                    "class `{name}` has no counterpart in the model, which has {}; rename the folder, or use a model \
                     that knows the class",
                    listed(model_classes)
                ))
            })?;
            if let Some(other) = taken.insert(class, name.clone()) {
                unfit!(
                    "classes `{other}` and `{name}` are both class {class} of the model; keep one of them"
                );
            }
            Ok(class as u32)
        };
        Ok(Self { of_data: data_classes.iter().map(&mut find).collect::<Result<_>>()? })
    }

    /// The model's number of a class of the data.
    pub(crate) fn model_class(&self, data_class: u32) -> u32 {
        self.of_data[data_class as usize]
    }
}

/// The classes of a model with as many classes as ImageNet-1k or the published part of ImageNet-22k, by ImageNet's numbers.
pub(crate) fn wnids(classes: usize) -> impl Fn(&str) -> Option<usize> {
    let labels = beit_weights::labels::for_classes(classes);
    move |wnid| labels?.class_of_wnid(wnid)
}

fn by_name(name: &str, classes: &[String]) -> Result<Option<usize>> {
    let mut same = classes.iter().enumerate().filter(|(_, class)| *class == name).map(|(i, _)| i);
    let first = same.next();
    let second = same.next();
    if let (Some(first), Some(second)) = (first, second) {
        unfit!(
            "class `{name}` could be class {first} or class {second} of the model, which have that name; name the folder \
             by the number that ImageNet gives it"
        );
    }
    Ok(first)
}

fn listed(classes: &[String]) -> String {
    let first = &classes[..classes.len().min(LISTED)];
    let more = if first.len() < classes.len() { ", …" } else { "" };
    format!("{} classes: {}{more}", classes.len(), first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn build(data: &[&str], model: &[&str]) -> Result<Vec<u32>, String> {
        let table = [("n01440764", 0), ("n01443537", 1), ("n99999999", 70)];
        let by_wnid = |wnid: &str| table.iter().find(|(known, _)| *known == wnid).map(|(_, class)| *class);
        let map = ClassMap::build(&names(data), &names(model), by_wnid).map_err(|error| error.to_string())?;
        Ok((0..data.len()).map(|class| map.model_class(class as u32)).collect())
    }

    #[test]
    fn counterparts() {
        assert_eq!(build(&["cat", "dog"], &["ant", "dog", "cat"]), Ok(vec![2, 1]));
        assert_eq!(build(&["n01443537"], &["tench", "goldfish"]), Ok(vec![1]));
        // The name decides where it is one of the model's.
        assert_eq!(build(&["n01443537"], &["n01443537", "goldfish"]), Ok(vec![0]));
        assert_eq!(build(&["2", "0"], &["LABEL_0", "LABEL_1", "LABEL_2"]), Ok(vec![2, 0]));
        assert_eq!(build(&["LABEL_1"], &["LABEL_0", "LABEL_1"]), Ok(vec![1]));
    }

    #[test]
    fn what_has_no_counterpart_is_named() {
        let rows: [(&[&str], &[&str], &str); 6] = [
            (
                &["cat", "cow"],
                &["ant", "cat"],
                "class `cow` has no counterpart in the model, which has 2 classes: ant, cat;",
            ),
            (&["1"], &["ant", "cat"], "class `1` has no counterpart"),
            (&["3"], &["LABEL_0", "LABEL_1"], "class `3` has no counterpart"),
            (&["n99999999"], &["tench", "goldfish"], "class `n99999999` has no counterpart"),
            (&["crane"], &["crane", "ox", "crane"], "class `crane` could be class 0 or class 2"),
            (
                &["n01440764", "tench"],
                &["tench", "goldfish"],
                "classes `n01440764` and `tench` are both class 0",
            ),
        ];
        for (data, model, says) in rows {
            let error = build(data, model).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let many: Vec<String> = (0..20).map(|i| format!("c{i}")).collect();
        assert!(listed(&many).ends_with("20 classes: c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, …"));
    }
}
