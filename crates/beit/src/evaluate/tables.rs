//! An evaluation as tables, for people and as CSV.

use beit_train::{ClassCounts, Evaluation, PixelClass, PixelCounts};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Up to this many classes the confusion matrix is written whole.
const DENSE: usize = 2000;

/// Lines for a terminal: the classes that have images.
pub(super) fn per_class_text(evaluation: &Evaluation, names: &[String]) -> String {
    let counts = evaluation.per_class();
    let width = counts.iter().map(|c| names[c.class as usize].chars().count()).max().unwrap_or(0).max(5);
    let mut text = format!("\n{:width$}  images   top-1   top-5", "class");
    for counts in counts {
        let (name, [top1, top5]) = (&names[counts.class as usize], shares(&counts));
        let _ = write!(text, "\n{name:width$}  {:6}  {top1:.4}  {top5:.4}", counts.images);
    }
    text
}

/// One row a class of the model, in the order of their numbers; no shares where there are no images.
pub(super) fn per_class_csv(evaluation: &Evaluation, names: &[String]) -> Result<Vec<u8>, csv::Error> {
    let counted: BTreeMap<u32, ClassCounts> =
        evaluation.per_class().into_iter().map(|counts| (counts.class, counts)).collect();
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(["class", "name", "images", "right", "right_in_5", "top1", "top5"])?;
    for (class, name) in names.iter().enumerate() {
        let counts = counted.get(&(class as u32)).copied().unwrap_or_default();
        let share = |share: f64| if counts.images == 0 { String::new() } else { share.to_string() };
        let numbers = [counts.images, counts.right, counts.right_in_5].map(|n| n.to_string());
        let row = [class.to_string(), name.clone()].into_iter().chain(numbers);
        table.write_record(row.chain(shares(&counts).map(share)))?;
    }
    table.into_inner().map_err(|error| error.into_error().into())
}

/// Rows are right classes, columns those that the model named. A large matrix is almost empty: then one row an entry that is not
/// zero, by the numbers of the classes.
pub(super) fn confusion_csv(
    entries: &BTreeMap<[u32; 2], u64>,
    names: &[String],
) -> Result<Vec<u8>, csv::Error> {
    let mut table = csv::Writer::from_writer(Vec::new());
    if names.len() > DENSE {
        table.write_record(["true", "predicted", "count"])?;
        for (&[label, named], &images) in entries {
            table.write_record([u64::from(label), u64::from(named), images].map(|n| n.to_string()))?;
        }
        return table.into_inner().map_err(|error| error.into_error().into());
    }
    table.write_record(std::iter::once("true \\ predicted").chain(names.iter().map(String::as_str)))?;
    for (label, name) in names.iter().enumerate() {
        let images = |named: usize| entries.get(&[label as u32, named as u32]).copied().unwrap_or(0);
        let row = (0..names.len()).map(|named| images(named).to_string());
        table.write_record(std::iter::once(name.clone()).chain(row))?;
    }
    table.into_inner().map_err(|error| error.into_error().into())
}

/// Lines for a terminal: the classes of pixels that are shown or named.
pub(super) fn pixels_text(counts: &PixelCounts, names: &[String]) -> String {
    let classes: Vec<PixelClass> = counts.per_class().into_iter().filter(|class| class.union() > 0).collect();
    let name = |class: &PixelClass| &names[class.class as usize];
    let width = classes.iter().map(|class| name(class).chars().count()).max().unwrap_or(0).max(5);
    let all: u64 = classes.iter().map(|class| class.pixels).sum();
    let mut text = format!("\n{:width$}  of pixels     IoU  accuracy", "class");
    for class in &classes {
        let share = class.pixels as f64 / all.max(1) as f64;
        let [iou, accuracy] = [class.iou(), class.accuracy()].map(|share| share.unwrap_or(0.0));
        let _ = write!(text, "\n{:width$}  {share:9.4}  {iou:6.4}  {accuracy:8.4}", name(class));
    }
    text
}

/// One row a class of the model, in the order of their numbers; no shares of what is not there.
pub(super) fn pixels_csv(counts: &PixelCounts, names: &[String]) -> Result<Vec<u8>, csv::Error> {
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(["class", "name", "pixels", "named", "right", "iou", "accuracy"])?;
    for (class, name) in counts.per_class().into_iter().zip(names) {
        let share = |share: Option<f64>| share.map_or_else(String::new, |share| share.to_string());
        let numbers = [class.pixels, class.named, class.right].map(|n| n.to_string());
        let row = [class.class.to_string(), name.clone()].into_iter().chain(numbers);
        table.write_record(row.chain([class.iou(), class.accuracy()].map(share)))?;
    }
    table.into_inner().map_err(|error| error.into_error().into())
}

/// Top-1 and top-5 accuracy.
fn shares(counts: &ClassCounts) -> [f64; 2] {
    [counts.right, counts.right_in_5].map(|n| n as f64 / counts.images.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two images of class 2 of `classes`, one taken for class 0.
    fn evaluation(classes: usize) -> Evaluation {
        let text = format!(
            r#"{{"classes":{classes},"batches":1,"left_out":0,"loss_bits":0,"confusion":[[2,0,1],[2,2,1]],"in_5":[[2,2]]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn names(classes: usize) -> Vec<String> {
        (0..classes).map(|class| format!("class {class}, of many")).collect()
    }

    fn text(bytes: Result<Vec<u8>, csv::Error>) -> String {
        String::from_utf8(bytes.unwrap()).unwrap()
    }

    #[test]
    fn tables_of_few_classes() {
        let (evaluation, names) = (evaluation(3), ["a", "b, c", "d"].map(str::to_owned));
        let expected = "class,name,images,right,right_in_5,top1,top5\n0,a,0,0,0,,\n1,\"b, c\",0,0,0,,\n2,d,2,1,2,0.5,1\n";
        assert_eq!(text(per_class_csv(&evaluation, &names)), expected);
        let expected = "true \\ predicted,a,\"b, c\",d\na,0,0,0\n\"b, c\",0,0,0\nd,1,0,1\n";
        assert_eq!(text(confusion_csv(&evaluation.confusion().collect(), &names)), expected);
        let expected = "\nclass  images   top-1   top-5\nd           2  0.5000  1.0000";
        assert_eq!(per_class_text(&evaluation, &names), expected);
    }

    #[test]
    fn the_matrix_of_many_classes_is_sparse() {
        let bytes = confusion_csv(&evaluation(21841).confusion().collect(), &names(21841));
        assert_eq!(text(bytes), "true,predicted,count\n2,0,1\n2,2,1\n");
    }
}
