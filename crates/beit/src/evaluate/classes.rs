//! Which class of a model a class of the data is.

use crate::error::{Error, Result, unfit};
use beit_data::normal_name;
use std::collections::BTreeMap;

/// Names that an error lists.
const LISTED: usize = 10;

/// For each class of the data, its number in the model. The data may have some of the model's classes only.
#[derive(Debug, PartialEq)]
pub(crate) struct ClassMap {
    of_data: Vec<u32>,
    /// How classes were numbered that have no names in the model.
    pub(crate) note: Option<String>,
}

impl ClassMap {
    /// Of folders: the class of the same name, however that is spelt; else the class of ImageNet that `by_wnid` finds (`n01440764`);
    /// else, where the model's classes have no names (`LABEL_7`), by [`Numbers`].
    pub(crate) fn of_folders(
        data_classes: &[String],
        model_classes: &[String],
        by_wnid: impl Fn(&str) -> Option<usize>,
    ) -> Result<Self> {
        let numbers = Numbers::of(data_classes, model_classes);
        let number = |place, name: &str| by_wnid(name).or_else(|| numbers.as_ref()?.class(place, name));
        let of_data = counterparts(data_classes, model_classes, number)?;
        let note = numbers.map(|_| numbered(data_classes, &of_data));
        Ok(Self { of_data, note })
    }

    /// Of masks: the class of the same name; else, where the model's classes have no names, the one whose number pixels of the class have,
    /// as in training. Names stand for these numbers only where the model has as many classes.
    pub(crate) fn of_masks(data_classes: &[String], model_classes: &[String]) -> Result<Self> {
        let nameless = is_nameless(model_classes);
        let as_many = data_classes.len() == model_classes.len();
        let value =
            |place: usize, name: &str| (nameless && (as_many || name == place.to_string())).then_some(place);
        Ok(Self { of_data: counterparts(data_classes, model_classes, value)?, note: None })
    }

    /// The model's number of a class of the data.
    pub(crate) fn model_class(&self, data_class: u32) -> u32 {
        self.of_data[data_class as usize]
    }
}

/// The counterpart of each class: the class of the same name, else what `other(place, name)` finds.
fn counterparts(
    data_classes: &[String],
    model_classes: &[String],
    other: impl Fn(usize, &str) -> Option<usize>,
) -> Result<Vec<u32>> {
    let normal: Vec<String> = model_classes.iter().map(|name| normal_name(name.trim())).collect();
    let mut taken = BTreeMap::new();
    let find = |(place, name): (usize, &String)| -> Result<u32> {
        let found = by_name(&normal_name(name.trim()), &normal)?.or_else(|| other(place, name));
        let class = found.filter(|&class| class < model_classes.len()).ok_or_else(|| {
                Error::Unfit(format!(
                    "class `{name}` has no counterpart in the model, which has {}; rename the folder, or use a model \
                     that knows the class",
                    listed(model_classes)
                ))
            })?;
        if let Some(other) = taken.insert(class, name.clone()) {
            unfit!("classes `{other}` and `{name}` are both class {class} of the model; keep one of them");
        }
        Ok(class as u32)
    };
    data_classes.iter().enumerate().map(find).collect()
}

/// Whether the classes of a model have numbers in the place of names (`LABEL_7`).
fn is_nameless(model_classes: &[String]) -> bool {
    model_classes.iter().enumerate().all(|(i, name)| *name == format!("LABEL_{i}"))
}

/// How numbers name the classes of a model that has lost their names. Training numbers folders in the order of their names, as
/// torchvision and the released code do, so that `10` comes before `2`: evaluation must not number them in another way.
struct Numbers {
    classes: usize,
    /// Whether every class of the model is there: then its place among them is its number.
    all: bool,
    /// Whether numbers are filled up with zeros, so that the order of names is that of numbers.
    filled: bool,
}

impl Numbers {
    /// None where the model's classes have names, or those of the data are no numbers.
    fn of(data_classes: &[String], model_classes: &[String]) -> Option<Self> {
        let number = |name: &String| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        let classes = model_classes.len();
        let filled = data_classes.iter().any(|name| name.len() > 1 && name.starts_with('0'));
        let all = data_classes.len() == classes;
        (is_nameless(model_classes) && data_classes.iter().all(number)).then_some(Self {
            classes,
            all,
            filled,
        })
    }

    /// The class of a name, which stands at `place` in the data; none of a number that is too large.
    fn class(&self, place: usize, name: &str) -> Option<usize> {
        if self.all {
            return Some(place);
        }
        let number: usize = name.parse().ok().filter(|&number| number < self.classes)?;
        if self.filled {
            return Some(number);
        }
        let name = number.to_string();
        Some((0..self.classes).filter(|other| other.to_string() < name).count())
    }
}

/// A sentence about which number became which class.
fn numbered(names: &[String], classes: &[u32]) -> String {
    /// Classes that the sentence lists.
    const LISTED: usize = 4;
    let pairs =
        names.iter().zip(classes).take(LISTED).map(|(name, class)| format!("`{name}` is class {class}"));
    let more = if names.len() > LISTED { ", …" } else { "" };
    format!(
        "the model's classes have no names: folders are numbered in the order of their names, as in training: {}{more}",
        pairs.collect::<Vec<_>>().join(", ")
    )
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
        let map =
            ClassMap::of_folders(&names(data), &names(model), by_wnid).map_err(|error| error.to_string())?;
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
    fn names_are_the_same_however_they_are_spelt() {
        let (apart, together) = ("cafe\u{301}", "caf\u{e9}");
        for (data, model) in [(apart, together), (together, apart), ("A\u{30a}", "\u{212b}")] {
            assert_eq!(build(&["zoo", data], &["ant", model, "zoo"]), Ok(vec![2, 1]));
        }
        // Letters of another meaning, and other cases, stay apart.
        for (data, model) in [("cafe", together), ("Café", together), ("ﬁn", "fin")] {
            assert!(build(&[data], &[model, "zoo"]).is_err(), "{data}");
        }
    }

    #[test]
    fn numbers_are_in_the_order_of_training() {
        let nameless = |classes: usize| (0..classes).map(|i| format!("LABEL_{i}")).collect::<Vec<_>>();
        let build = |data: &[&str], classes: usize| {
            let model = nameless(classes);
            build(data, &model.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let sorted = |names: Vec<String>| {
            let mut names = names;
            names.sort();
            names
        };
        for classes in [2, 10, 12, 101] {
            let all = sorted((0..classes).map(|i| i.to_string()).collect());
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            let expected: Vec<u32> = (0..classes as u32).collect();
            assert_eq!(build(&all, classes), Ok(expected.clone()), "all of {classes}");
            // A part of them keeps its numbers.
            let part: Vec<&str> = all.iter().copied().step_by(2).take(classes - 1).collect();
            let numbers = expected.iter().copied().step_by(2).take(classes - 1).collect::<Vec<_>>();
            assert_eq!(build(&part, classes), Ok(numbers), "a part of {classes}");
        }
        // From 1 on, filled up with zeros, and years.
        assert_eq!(build(&["1", "2", "3"], 3), Ok(vec![0, 1, 2]));
        assert_eq!(build(&["00", "03", "11"], 12), Ok(vec![0, 3, 11]));
        assert_eq!(build(&["1990", "2000"], 2), Ok(vec![0, 1]));
        for (data, classes) in [(&["12"][..], 12), (&["1", "x"], 2), (&["99999999999999999999"], 2)] {
            assert!(build(data, classes).unwrap_err().contains("has no counterpart"), "{data:?}");
        }
        let map = ClassMap::of_folders(&names(&["0", "1", "10"]), &nameless(12), |_| None).unwrap();
        assert!(map.note.unwrap().ends_with("`0` is class 0, `1` is class 1, `10` is class 2"));
        let named = ClassMap::of_folders(&names(&["0", "1"]), &names(&["0", "1"]), |_| None).unwrap();
        assert_eq!(named.note, None);
    }

    #[test]
    fn values_of_masks_are_the_numbers_of_classes_without_names() {
        let build = |data: &[&str], model: &[String]| {
            let map = ClassMap::of_masks(&names(data), model).map_err(|error| error.to_string())?;
            Ok::<_, String>((0..data.len()).map(|class| map.model_class(class as u32)).collect::<Vec<_>>())
        };
        let nameless: Vec<String> = (0..21).map(|i| format!("LABEL_{i}")).collect();
        // Folders would be in the order 0, 1, 10, 11, 2.
        let values: Vec<String> = (0..12).map(|i| i.to_string()).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        assert_eq!(build(&values, &nameless), Ok((0..12).collect()));
        assert_eq!(build(&["wall", "sky", "bed"], &nameless[..3]), Ok(vec![0, 1, 2]));
        // Speed limits are names, and no numbers of classes.
        assert_eq!(build(&["30", "20", "50"], &nameless[..3]), Ok(vec![0, 1, 2]));
        assert!(build(&["10", "20"], &nameless).unwrap_err().contains("has no counterpart"));
        assert_eq!(build(&["wall", "bed"], &names(&["sky", "bed ", "wall"])), Ok(vec![2, 1]));
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
