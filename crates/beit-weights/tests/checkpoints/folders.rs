//! A checkpoint is there whole or not at all.

use crate::models::{Device, mim};
use beit_weights::{Error, load_mim, no_more_files, replace_folder, save_mim};
use std::fs;
use std::path::Path;
use tempfile::tempdir;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_failure_leaves_the_old_one_and_no_rubbish() {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let folder = tmp.path().join("last");
    save_mim(&ops, &folder, &mim(&ops), no_more_files).unwrap();
    let other = mim(&ops);
    let failing = save_mim(&ops, &folder, &other, |folder| {
        fs::create_dir(folder.join("training")).unwrap();
        let path = folder.join("training/full");
        Err(Error::Write { path, source: std::io::ErrorKind::StorageFull.into() })
    });
    assert!(failing.unwrap_err().to_string().contains("training/full"));
    assert_eq!(names(tmp.path()), ["last"]);
    assert_eq!(names(&folder), ["config.json", "model.safetensors"]);
    assert_eq!(load_mim(&ops, &folder).unwrap().params, mim(&ops));
}

#[test]
fn a_panic_leaves_the_old_one_and_no_rubbish() {
    let tmp = tempdir().unwrap();
    let folder = tmp.path().join("last");
    let result = std::panic::catch_unwind(|| replace_folder::<Error>(&folder, |_| panic!("out of memory")));
    assert!(result.is_err());
    assert!(names(tmp.path()).is_empty());
}

#[test]
fn the_new_one_replaces_the_old_one_whole() {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let folder = tmp.path().join("last");
    fs::create_dir_all(folder.join("training")).unwrap();
    fs::write(folder.join("training/old"), "old").unwrap();
    let more = |folder: &Path| fs::write(folder.join("new"), "new").map_err(|_| unreachable!());
    save_mim::<_, Error>(&ops, &folder, &mim(&ops), more).unwrap();
    assert_eq!(names(tmp.path()), ["last"]);
    assert_eq!(names(&folder), ["config.json", "model.safetensors", "new"]);
}

#[test]
fn files_in_the_way() {
    let tmp = tempdir().unwrap();
    let file = tmp.path().join("file");
    fs::write(&file, "precious").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = replace_folder::<Error>(&path, |_| Ok(())).unwrap_err();
        assert!(matches!(error, Error::Write { .. }), "{error}");
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    assert_eq!(names(tmp.path()), ["file"]);
}

#[cfg(unix)]
#[test]
fn links_are_followed() {
    let tmp = tempdir().unwrap();
    fs::create_dir(tmp.path().join("step-7")).unwrap();
    let link = tmp.path().join("last");
    std::os::unix::fs::symlink("step-7", &link).unwrap();
    replace_folder::<Error>(&link, |folder| {
        fs::write(folder.join("new"), "new").unwrap();
        Ok(())
    })
    .unwrap();
    assert!(link.is_symlink());
    assert_eq!(names(&tmp.path().join("step-7")), ["new"]);
}
