//! The JSON files of a checkpoint folder.

use beit_weights::{Model, read_preprocessing, write_preprocessing};

pub(crate) fn run(bytes: &[u8]) {
    let config = crate::file("config.json", bytes);
    let folder = config.parent().expect("a file is in a folder");
    if let Ok(model) = Model::read(folder) {
        // What was read can be written and is then read as the same.
        model.write(folder).expect("room for a temporary file");
        assert_eq!(Model::read(folder).expect("our own file"), model);
    }
    crate::file("preprocessor_config.json", bytes);
    if let Ok(preprocessing) = read_preprocessing(folder) {
        write_preprocessing(folder, &preprocessing).expect("room for a temporary file");
        assert_eq!(read_preprocessing(folder).expect("our own file"), preprocessing);
    }
}
