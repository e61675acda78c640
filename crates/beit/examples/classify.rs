//! The five most likely classes of an image.
//!
//! `cargo run --release -p beit --example classify -- MODEL IMAGE`, where MODEL is a run, a folder, a file or an official name.
#![allow(clippy::print_stdout)]

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, path] = &args[..] else { return Err("usage: classify MODEL IMAGE".into()) };
    let classifier = beit::Classifier::open(model, beit::Device::auto()?)?;
    let image = beit::Image::open(path)?;
    println!("{path}");
    for p in classifier.classify(&image)?.top(5) {
        println!("  {:.4}  {}", p.probability, p.label);
    }
    Ok(())
}
