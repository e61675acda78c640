//! The names of the classes that published classifiers know.

use flate2::read::GzDecoder;
use std::io::Read;
use std::sync::LazyLock;

/// Synset and English name of every class, in the order of a classifier's logits.
///
/// ```
/// let labels = beit_weights::imagenet_1k();
/// assert_eq!((labels.wnid(0), labels.name(0)), ("n01440764", "tench, Tinca tinca"));
/// assert_eq!(labels.class_of_wnid("n02127052"), Some(287));
/// assert_eq!(labels.class_of_name("lynx"), Some(287));
/// ```
#[derive(Debug)]
pub struct Labels {
    /// By synset, which is the order of the classes.
    classes: Vec<Class>,
}

#[derive(Debug)]
struct Class {
    wnid: String,
    name: String,
}

/// The 1000 classes of ILSVRC 2012.
#[must_use]
pub fn imagenet_1k() -> &'static Labels {
    static LABELS: LazyLock<Labels> = LazyLock::new(|| rows(include_str!("../assets/imagenet-1k.tsv")));
    &LABELS
}

/// The 21841 classes of ImageNet's release of autumn 2011, which papers call ImageNet-22k or -21k.
///
/// The `id2label` of the published `microsoft/beit-*-ft22k` is made from a list with two more entries, which were
/// taken out without closing the gaps: from class 9205 on it names a neighbour. The numbers here are without gaps.
///
/// ```
/// let labels = beit_weights::imagenet_22k();
/// assert_eq!(labels.name(2397), "tabby, tabby cat");
/// ```
#[must_use]
pub fn imagenet_22k() -> &'static Labels {
    static LABELS: LazyLock<Labels> =
        LazyLock::new(|| columns(&inflated(include_bytes!("../assets/imagenet-22k.txt.gz"))));
    &LABELS
}

/// Those of a published classifier with that many classes.
#[must_use]
pub fn for_classes(classes: usize) -> Option<&'static Labels> {
    match classes {
        1000 => Some(imagenet_1k()),
        21_841 => Some(imagenet_22k()),
        _ => None,
    }
}

impl Labels {
    /// Number of classes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there are always classes")]
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// The English words for a class, separated by a comma and a space.
    ///
    /// # Panics
    ///
    /// When there is no such class.
    #[must_use]
    pub fn name(&self, class: usize) -> &str {
        &self.classes[class].name
    }

    /// The synset of a class: `n` and its number in WordNet 3.0.
    ///
    /// # Panics
    ///
    /// When there is no such class.
    #[must_use]
    pub fn wnid(&self, class: usize) -> &str {
        &self.classes[class].wnid
    }

    /// All names, in the order of the classes.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.classes.iter().map(|class| class.name.as_str())
    }

    /// The class of a synset, such as a folder of ImageNet is named by.
    #[must_use]
    pub fn class_of_wnid(&self, wnid: &str) -> Option<usize> {
        self.classes.binary_search_by(|class| class.wnid.as_str().cmp(wnid)).ok()
    }

    /// The class with this name, or with this word among others, in whatever case; none where several classes share it.
    #[must_use]
    pub fn class_of_name(&self, name: &str) -> Option<usize> {
        let whole = |class: &Class| class.name.eq_ignore_ascii_case(name);
        let word = |class: &Class| class.name.split(", ").any(|word| word.eq_ignore_ascii_case(name));
        if self.classes.iter().any(whole) { self.only(whole) } else { self.only(word) }
    }

    fn only(&self, wanted: impl Fn(&Class) -> bool) -> Option<usize> {
        let mut found = self.classes.iter().enumerate().filter(|(_, class)| wanted(class));
        let (class, _) = found.next()?;
        found.next().is_none().then_some(class)
    }
}

/// A line for each class: synset, tabulator, name.
fn rows(text: &str) -> Labels {
    let class = |line: &str| {
        let (wnid, name) = line.split_once('\t').expect("two columns");
        Class { wnid: wnid.to_owned(), name: name.to_owned() }
    };
    Labels { classes: text.lines().map(class).collect() }
}

/// A line for each synset, how much its number exceeds the one before; then a line for each name.
fn columns(text: &str) -> Labels {
    let lines: Vec<&str> = text.lines().collect();
    let (steps, names) = lines.split_at(lines.len() / 2);
    let mut number = 0;
    let class = |(step, name): (&&str, &&str)| {
        number += step.parse::<u32>().expect("a number");
        Class { wnid: format!("n{number:08}"), name: (*name).to_owned() }
    };
    Labels { classes: steps.iter().zip(names).map(class).collect() }
}

fn inflated(bytes: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).expect("a whole file");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_in_the_order_of_their_synsets() {
        for (labels, len) in [(imagenet_1k(), 1000), (imagenet_22k(), 21_841)] {
            assert_eq!(labels.len(), len);
            assert!(labels.classes.is_sorted_by(|a, b| a.wnid < b.wnid));
            assert!(labels.classes.iter().all(|class| class.wnid.len() == 9 && !class.name.is_empty()));
            assert!((0..len).all(|class| labels.class_of_wnid(labels.wnid(class)) == Some(class)));
            assert!(std::ptr::eq(for_classes(len).unwrap(), labels));
        }
        assert!(for_classes(10).is_none());
    }

    #[test]
    fn classes_that_everybody_knows() {
        let known = [
            (0, "n01440764", "tench, Tinca tinca"),
            (281, "n02123045", "tabby, tabby cat"),
            (284, "n02123597", "Siamese cat, Siamese"),
            (285, "n02124075", "Egyptian cat"),
            (287, "n02127052", "lynx, catamount"),
            (761, "n04074963", "remote control, remote"),
            (850, "n04399382", "teddy, teddy bear"),
            (999, "n15075141", "toilet tissue, toilet paper, bathroom tissue"),
        ];
        for (class, wnid, name) in known {
            let labels = imagenet_1k();
            assert_eq!((labels.wnid(class), labels.name(class)), (wnid, name));
            assert_eq!(labels.class_of_name(&name.to_uppercase()), Some(class));
        }
    }

    #[test]
    fn classes_of_22k_are_numbered_without_gaps() {
        let known = [
            (0, "n00004475", "organism, being"),
            (2396, "n02122948", "kitten, kitty"),
            (2397, "n02123045", "tabby, tabby cat"),
            (9204, "n03930630", "pickup, pickup truck"),
            (9205, "n03931765", "picture frame"),
            (15_025, "n09859285", "blade"),
            (15_026, "n09859975", "blind date"),
            (21_840, "n15102894", "knothole"),
        ];
        for (class, wnid, name) in known {
            let labels = imagenet_22k();
            assert_eq!((labels.wnid(class), labels.name(class)), (wnid, name));
        }
        // Google's list has these two as well.
        assert_eq!(imagenet_22k().class_of_wnid("n03931044"), None);
        assert_eq!(imagenet_22k().class_of_wnid("n09859684"), None);
    }

    #[test]
    fn all_of_1k_but_the_teddy_bear_is_in_22k() {
        let (few, many) = (imagenet_1k(), imagenet_22k());
        let absent = (0..1000).filter(|&class| many.class_of_wnid(few.wnid(class)).is_none());
        assert_eq!(absent.collect::<Vec<_>>(), [850]);
        let named_alike = |class: &usize| {
            many.class_of_wnid(few.wnid(*class)).is_none_or(|other| many.name(other) == few.name(*class))
        };
        assert!((0..1000).all(|class| named_alike(&class)));
    }

    #[test]
    fn a_name_of_two_classes_is_nobodys() {
        let labels = imagenet_1k();
        assert_eq!([labels.name(134), labels.name(517)], ["crane", "crane"]);
        assert_eq!(labels.class_of_name("crane"), None);
        assert_eq!(labels.class_of_name("unicorn"), None);
    }
}
