//! The same pictures from a folder, a Parquet and an Arrow set pre-train to the same bytes.

use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray};
use beit::{
    DataSettings, Device, ModelSettings, PretrainSettings, Pretraining, Shuffle, Size, TokenizerKind, Watch,
};
use image::{ImageFormat, RgbImage};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::fs::{self, File};
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

const PICTURES: usize = 200;
/// Rows of a row group and of a batch.
const GROUP: usize = 32;
const CLASSES: [&str; 2] = ["bee", "cow"];
/// As `datasets` says it.
const FEATURES: &str = r#"{"info": {"features": {"image": {"_type": "Image"}, "label": {"names": ["bee", "cow"], "_type": "ClassLabel"}}}}"#;

/// A row: a PNG and its class.
type Row = (Vec<u8>, usize);

/// Squares of one colour and place on another, each picture unlike all others.
fn rows() -> Vec<Row> {
    let row = |number: usize| {
        let (x0, y0) = (number as u32 * 5 % 9, number as u32 * 7 % 11);
        let inside = |x: u32, y: u32| (x0..x0 + 6).contains(&x) && (y0..y0 + 5).contains(&y);
        let pixel = |x, y| match inside(x, y) {
            true => image::Rgb([number as u8, 200, (x * 9) as u8]),
            false => image::Rgb([30, (y * 7) as u8, 255 - number as u8]),
        };
        let mut bytes = Cursor::new(Vec::new());
        RgbImage::from_fn(16, 16, pixel).write_to(&mut bytes, ImageFormat::Png).unwrap();
        (bytes.into_inner(), number * CLASSES.len() / PICTURES)
    };
    (0..PICTURES).map(row).collect()
}

fn write_folder(dir: &Path, rows: &[Row]) {
    for (number, (bytes, class)) in rows.iter().enumerate() {
        let folder = dir.join(CLASSES[*class]);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{number:04}.png")), bytes).unwrap();
    }
}

/// Two files of several row groups.
fn write_parquet(dir: &Path, rows: &[Row]) {
    let schema = "message schema { optional group image { optional binary bytes; optional binary path (UTF8); } optional int64 label; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    for (number, rows) in rows.chunks(PICTURES / 2).enumerate() {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_key_value_metadata(Some(vec![KeyValue::new("huggingface".to_owned(), FEATURES.to_owned())]));
        let file = File::create(dir.join(format!("train-{number:05}-of-00002.parquet"))).unwrap();
        let mut writer =
            SerializedFileWriter::new(file, Arc::clone(&schema), Arc::new(properties.build())).unwrap();
        for rows in rows.chunks(GROUP) {
            let there = |level| vec![level; rows.len()];
            let bytes: Vec<ByteArray> = rows.iter().map(|(bytes, _)| bytes.clone().into()).collect();
            let labels: Vec<i64> = rows.iter().map(|&(_, class)| class as i64).collect();
            let mut group = writer.next_row_group().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&bytes, Some(&there(2)), None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&[], Some(&there(1)), None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<Int64Type>().write_batch(&labels, Some(&there(1)), None).unwrap();
            column.close().unwrap();
            group.close().unwrap();
        }
        writer.close().unwrap();
    }
}

/// As `save_to_disk` writes it.
fn write_arrow(dir: &Path, rows: &[Row]) {
    let name = "data-00000-of-00001.arrow";
    let mut writer = None;
    for rows in rows.chunks(GROUP) {
        let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values(rows.iter().map(|(bytes, _)| bytes)));
        let paths: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>; rows.len()]));
        let images = StructArray::try_from(vec![("bytes", bytes), ("path", paths)]).unwrap();
        let labels = Int64Array::from_iter_values(rows.iter().map(|&(_, class)| class as i64));
        let columns: [(&str, ArrayRef); 2] = [("image", Arc::new(images)), ("label", Arc::new(labels))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let file = || File::create(dir.join(name)).unwrap();
        let open = || arrow_ipc::writer::StreamWriter::try_new(file(), &batch.schema()).unwrap();
        writer.get_or_insert_with(open).write(&batch).unwrap();
    }
    writer.unwrap().finish().unwrap();
    fs::write(
        dir.join("state.json"),
        format!(r#"{{"_data_files": [{{"filename": "{name}"}}], "_split": "train"}}"#),
    )
    .unwrap();
    let info: String = FEATURES.replace(r#"{"info": "#, "");
    fs::write(dir.join("dataset_info.json"), &info[..info.len() - 1]).unwrap();
}

/// The bytes of the model after three steps.
fn pretrained(dir: &Path, scheme: &str, shuffle: Shuffle) -> Vec<u8> {
    let data = format!("{scheme}:{}", dir.join(scheme).display());
    let mut settings = PretrainSettings {
        data: DataSettings { data, shuffle, ..DataSettings::default() },
        model: ModelSettings {
            preset: Size::Tiny,
            image_size: "16".parse().ok(),
            patch_size: "4".parse().ok(),
            ..ModelSettings::default()
        },
        tokenizer_kind: TokenizerKind::KMeans,
        // What is learnt does not matter here, only whether it is the same.
        accept_tokenizer: true,
        tokenizer_steps: Some(2),
        ..PretrainSettings::default()
    };
    settings.training.steps = Some(3);
    settings.training.batches = 16.into();
    settings.run.folder.out = Some(dir.join(format!("run-{scheme}-{shuffle}")));
    let run = Pretraining::new(settings, &Watch::silent()).unwrap().run(&Device::cpu()).unwrap();
    fs::read(run.run.join("last/model.safetensors")).unwrap()
}

#[test]
fn pictures_teach_the_same_wherever_they_come_from() {
    let dir = tempfile::tempdir().unwrap();
    let rows = rows();
    for (scheme, write) in
        [("folder", write_folder as fn(&Path, &[Row])), ("parquet", write_parquet), ("arrow", write_arrow)]
    {
        fs::create_dir(dir.path().join(scheme)).unwrap();
        write(&dir.path().join(scheme), &rows);
    }
    let folder = pretrained(dir.path(), "folder", Shuffle::Global);
    for scheme in ["parquet", "arrow"] {
        assert!(pretrained(dir.path(), scheme, Shuffle::Global) == folder, "{scheme} differs from folder");
    }
    // Other pictures in the same places would have shown.
    let mut other = rows;
    other.swap(0, PICTURES - 1);
    fs::remove_dir_all(dir.path().join("arrow")).unwrap();
    fs::create_dir(dir.path().join("arrow")).unwrap();
    write_arrow(&dir.path().join("arrow"), &other);
    fs::remove_dir_all(dir.path().join("run-arrow-global")).unwrap();
    assert!(pretrained(dir.path(), "arrow", Shuffle::Global) != folder, "two pictures changed places");
}
