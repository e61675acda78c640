//! Masks and files of classes, whatever bytes they are: the first line of the input is how long the file of classes is.

use std::fs;
use std::sync::Arc;

use beit_data::{Image, Mask, Pairs, Source, Split, check_masks};

pub(crate) fn run(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("room for a temporary folder");
    let [images, masks, classes] = ["images", "masks", "classes.txt"].map(|name| folder.path().join(name));
    let Some((&length, rest)) = bytes.split_first() else { return };
    let (names, mask) = rest.split_at(rest.len().min(length.into()));
    let written = [&images, &masks].map(fs::create_dir);
    assert!(written.iter().all(Result::is_ok), "room for two folders");
    // A picture of the size that masks of the corpus have.
    fs::write(images.join("a.png"), include_bytes!("../../../fuzz/corpus/image/colour.png"))
        .expect("room for a picture");
    fs::write(masks.join("a.png"), mask).expect("room for a mask");
    fs::write(&classes, names).expect("room for names");
    for classes in [None, Some(classes.as_path())] {
        let Ok(pairs) = Pairs::open(&images, &masks, classes, Split::Train) else { continue };
        let source: Arc<dyn Source> = Arc::new(pairs);
        let found = source.mask(0);
        if let Ok(Some(mask)) = &found {
            let known = source.mask_classes().len();
            assert!(classes.is_none() || known <= 255, "{known} classes");
            assert!(mask.height() > 0 && mask.width() > 0);
            assert_eq!(mask.ids().len(), mask.height() * mask.width());
        }
        // What a census lets pass can be learnt from.
        if let Ok(census) = check_masks(&source, &[0], |_| true) {
            let mask = found.expect("it was read").expect("there is one");
            let image = source.image(0).expect("it was written");
            assert_eq!([mask.height(), mask.width()], [image.height(), image.width()]);
            let classes = source.mask_classes().len();
            let fits = |&id: &u8| id == Mask::IGNORED || usize::from(id) < classes;
            assert!(mask.ids().iter().all(fits), "a number beyond {classes} classes");
            assert_eq!(census.pixels.iter().sum::<u64>() + census.ignored, mask.ids().len() as u64);
            let _: Image = image.overlaid(&mask, &[], 0.5);
        }
    }
}
